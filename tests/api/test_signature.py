"""The signatures list every setting, typed, and the calls take runs in place of folders and flags in place of names."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import clearsight
from clearsight.api.settings import DataSettings, RecipeSettings, TuneSettings
from clearsight.api.signature import named_settings, names_of, path_of
from clearsight.core.errors import BadValue
from clearsight.core.recipe import Recipe, fields
from clearsight.core.settings import declared
from clearsight.core.study import StudyPlan
from tests.workflow.run_folders import write_run

ROOT = Path(__file__).parents[2]


def test_the_types_are_those_of_the_declarations() -> None:
    written = subprocess.run(
        [sys.executable, ROOT / "docs" / "signatures.py"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "src/clearsight/api/settings.py").read_text(encoding="utf-8") == written.stdout, "run: make docs"


def test_every_setting_is_a_keyword() -> None:
    recipe = {name for _, name, _ in fields()}
    assert set(get_type_hints(RecipeSettings)) == recipe
    assert set(get_type_hints(TuneSettings)) == recipe | set(declared(StudyPlan))
    assert set(get_type_hints(DataSettings)) < recipe


@pytest.mark.parametrize("name", ["train", "tune", "evaluate", "predict", "data"])
def test_signatures_list_the_settings_with_their_defaults(name: str) -> None:
    function = getattr(clearsight, name)
    parameters = inspect.signature(function).parameters
    assert parameters["limit"].default is None
    assert parameters["limit"].annotation == int | None
    assert all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


def test_help_says_what_a_setting_means() -> None:
    assert "lr: peak learning rate." in inspect.getdoc(clearsight.train)


def test_data_and_models_are_packages_and_functions() -> None:
    import clearsight.data.decode

    assert callable(clearsight.data)
    assert clearsight.data.decode.MAX_PIXELS == 50_000_000
    assert "path" in inspect.signature(clearsight.data).parameters
    assert callable(clearsight.models)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"learning_rate": 1e-3}, {"lr": 1e-3}),
        ({"search": "random", "prune": "none"}, {"searcher": "random", "pruner": "none"}),
        ({"lr": 1e-3, "unknown": 1}, {"lr": 1e-3, "unknown": 1}),
    ],
)
def test_the_name_of_a_flag_is_a_keyword(given: dict[str, Any], named: dict[str, Any]) -> None:
    assert named_settings(given) == named


def test_a_setting_by_two_names_is_refused() -> None:
    with pytest.raises(BadValue, match="set twice"):
        named_settings({"lr": 1e-3, "learning_rate": 1e-3})


def test_a_run_stands_for_its_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert path_of(run) == path_of(str(run.path)) == run.path
    with pytest.raises(BadValue, match="must be a folder, a file or a run"):
        path_of(3)


def test_last_is_the_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "runs" / "first")
    assert path_of("last", "runs") == Path("runs/first")
    assert path_of("last") == Path("last"), "not where a file or a bundle is meant"
    assert clearsight.open_run("last").path.resolve() == run.path


def test_names_of_settings_are_a_text_or_a_list() -> None:
    assert names_of("lr, batch-size") == names_of(["lr", "batch_size"]) == ["lr", "batch_size"]


def test_values_of_python_are_those_of_a_file() -> None:
    numpy = pytest.importorskip("numpy")
    recipe = Recipe().replace(weights=Path("w.safetensors"), epochs=numpy.int64(3), lr=numpy.float32(0.5))
    assert (recipe.model.weights, recipe.train.epochs, recipe.optim.lr) == ("w.safetensors", 3, 0.5)
