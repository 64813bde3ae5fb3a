"""`train` merges a recipe with keyword settings and launches the run; `resume` continues one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadChoice, NotFound
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.train import resume, train, unset_fields


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Arguments of each launch, in the place of a training."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr("clearsight.workflow.run.launch.launch_run", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr("clearsight.workflow.run.launch.resume_run", lambda *arguments: calls.append(arguments))
    return calls


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def test_settings_override_the_recipe_file(photos: Path, tmp_path: Path, launches: list[tuple[Any, ...]]) -> None:
    (tmp_path / "recipe.yaml").write_text("model: tiny\nepochs: 8\nlr: 0.1\n")
    train(photos, out=tmp_path / "run", recipe=str(tmp_path / "recipe.yaml"), lr=0.5)
    ((data, out, recipe, _, unset),) = launches
    assert (data, out) == (photos, tmp_path / "run")
    assert (recipe.model.model, recipe.train.epochs, recipe.optim.lr) == ("tiny", 8, 0.5)
    assert unset.isdisjoint({"model", "epochs", "lr"})
    assert "batch_size" in unset


def test_a_recipe_object_is_not_changed(photos: Path, tmp_path: Path, launches: list[tuple[Any, ...]]) -> None:
    base = Recipe().replace(epochs=3)
    train(photos, out=tmp_path / "run", recipe=base, epochs=4, weights="none")
    assert base.train.epochs == 3
    assert launches[0][2].train.epochs == 4


def test_a_setting_at_its_default_counts_as_set(photos: Path, tmp_path: Path, launches: list[tuple[Any, ...]]) -> None:
    train(photos, out=tmp_path / "run", batch_size=Recipe().train.batch_size, weights="none")
    assert "batch_size" not in launches[0][4]  # so that --auto-tune leaves it


def test_wrong_settings_are_refused(photos: Path, tmp_path: Path, launches: list[tuple[Any, ...]]) -> None:
    with pytest.raises(BadChoice, match="Did you mean epochs"):
        train(photos, out=tmp_path / "run", epohcs=3)
    with pytest.raises(NotFound, match=r"none\.yaml"):
        train(photos, out=tmp_path / "run", recipe=tmp_path / "none.yaml")
    assert launches == []


def test_resume_passes_on_the_launch_the_time_limit_and_the_data(
    photos: Path, tmp_path: Path, launches: list[tuple[Any, ...]]
) -> None:
    launch, run = LaunchContext(), Run.begin(tmp_path / "run", Recipe(), data={"path": str(photos)})
    resume(str(run.path), launch=launch, time_limit=60.0)
    resume(run.path, launch=launch, data=str(tmp_path))
    assert launches == [
        (run.path, launch, 60.0, None, None, False),
        (run.path, launch, None, tmp_path, None, False),
    ]


def test_unset_fields_are_those_at_their_default() -> None:
    assert unset_fields(Recipe()) == Recipe().flat().keys()
    assert Recipe().flat().keys() - unset_fields(Recipe().replace(lr=0.1, epochs=7)) == {"lr", "epochs"}
