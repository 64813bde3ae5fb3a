"""The default recipe on real images: what it comes to is said and written down, and gives the same run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from tests.walks.commands import run

SETTINGS = ("--limit", "120", "--image-size", "96", "--debug", "off", "--profile", "off")


@pytest.fixture(scope="module")
def words(scenes: Path, real_weights: Path) -> tuple[object, ...]:
    return ("train", scenes, "-m", "timm/mobilenetv2_100", "--weights", real_weights, *SETTINGS)


def test_few_images_train_the_head_on_cached_features(words: tuple[object, ...], tmp_path: Path) -> None:
    printed = run(*words, "--out", tmp_path / "run").stdout
    assert "default  the head alone, since fewer than 200 training images" in printed
    recipe = Recipe.load(tmp_path / "run" / "recipe.yaml")
    assert (recipe.model.freeze, recipe.train.epochs, recipe.data.augment) == ("backbone", 30, "none")
    unset = {name for name, value in recipe.flat().items() if value is None}
    assert unset.isdisjoint({"epochs", "lr", "schedule", "augment", "head_epochs", "head_augment", "valid_fraction"})


def test_more_images_end_with_the_head_where_it_leaves_few_errors(words: tuple[object, ...], tmp_path: Path) -> None:
    printed = run(*words, "--limit", "500", "--out", tmp_path / "run").stdout
    assert (
        "default  the head for 30 epochs, then the whole network for 5 epochs if the head leaves 200 errors" in printed
    )
    ended = Run.open(tmp_path / "run")
    assert ended.second_phase.startswith("The head alone was trained, and not the whole network: ")
    assert (ended.status, len(ended.epochs()), ended.recipe.model.freeze) == (RunStatus.COMPLETED, 30, "none")
    assert f"note     {ended.second_phase}" in printed
    assert ended.second_phase in ended.files.log.read_text()
    assert ended.second_phase in ended.files.report.read_text()
    # It is the model that the head alone gives.
    head = ("--freeze", "backbone", "--limit", "500", "--lr", ended.recipe.optim.head_lr)
    run(*words, *head, "--out", tmp_path / "head")
    assert Run.open(tmp_path / "head").scores == ended.scores


def test_the_first_phase_is_cached_although_the_second_augments(words: tuple[object, ...], tmp_path: Path) -> None:
    phases = ("--head-epochs", "3", "--epochs", "4")
    printed = run(*words, *phases, "--out", tmp_path / "run").stdout
    assert "features of the frozen part computed once (head)" in printed
    assert "default  the head for 3 epochs, then the whole network for 1 epoch: about " in printed
    first = Run.open(tmp_path / "run")
    assert (first.recipe.data.augment, first.recipe.train.head_augment) == ("light", False)
    epochs = first.epochs()
    assert max(epoch["valid"]["accuracy"] for epoch in epochs) == first.scores["valid"]["accuracy"]
    # The recipe on disk has everything filled in, so that it gives the same run, and leaves nothing to choose.
    again = run(*words[:2], "--recipe", tmp_path / "run" / "recipe.yaml", "--out", tmp_path / "again").stdout
    assert "default  " not in again
    second = Run.open(tmp_path / "again")
    assert second.recipe == first.recipe
    assert [epoch["valid"] for epoch in second.epochs()] == [epoch["valid"] for epoch in epochs]
