"""Tuning a real network on real images with one command, and reading the study with Optuna, Python and a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest

import clearsight
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from tests.walks.commands import error_of, json_of, run

pytestmark = pytest.mark.slow

TRIALS = 6


@pytest.fixture(scope="module")
def tuned(shared: Path, real_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A study of moles, two classes, on the features of a network that was trained on ImageNet."""
    found: dict[str, Any] = json_of(
        *("tune", shared / "data" / "isic-2024", "-m", "timm/mobilenetv2_100", "--weights", real_weights),
        *("--freeze", "backbone", "--tune", "lr,batch_size,epochs,weight_decay", "--metric", "roc_auc"),
        *("--trials", TRIALS, "--out", tmp_path_factory.mktemp("studies") / "moles"),
    )
    return found


def test_the_best_trial_tells_moles_apart(tuned: dict[str, Any]) -> None:
    assert (tuned["status"], tuned["metric"], tuned["direction"]) == ("completed", "roc_auc", "maximize")
    assert [trial["number"] for trial in tuned["trials"]] == list(range(TRIALS))
    assert {trial["state"] for trial in tuned["trials"]} <= {"complete", "pruned"}
    assert tuned["best"]["value"] > 0.80
    assert set(tuned["best"]["params"]) == {"lr", "batch_size", "epochs", "weight_decay"}


def test_heads_trained_together_over_cached_features(tuned: dict[str, Any]) -> None:
    assert tuned["saved"]["features_seconds"] > 0
    heads = [file.parent.name for file in Path(tuned["study"]).glob("trials/*/head.safetensors")]
    assert heads == [f"{tuned['best']['trial']:04d}"]
    assert not list(Path(tuned["study"]).glob("trials/*/run/run.json"))[1:]


def test_the_best_recipe_and_model_can_be_used(tuned: dict[str, Any], shared: Path) -> None:
    recipe = Recipe.load(Path(tuned["study"]) / "best.yaml")
    assert recipe.optim.lr == tuned["best"]["params"]["lr"]
    best = Run.open(Path(tuned["best"]["run"]))
    assert best.scores["valid"]["roc_auc"] == tuned["best"]["value"]
    measured = json_of("evaluate", best.path, shared / "data" / "isic-2024", "--split", "valid")
    assert measured["roc_auc"] == pytest.approx(tuned["best"]["value"], abs=1e-3)
    assert measured["loss"] == pytest.approx(best.scores["valid"]["loss"], abs=1e-3)


def test_optuna_reads_the_study(tuned: dict[str, Any]) -> None:
    storage = f"sqlite:///{tuned['study']}/study.db"
    loaded = optuna.load_study(study_name=None, storage=storage)
    assert [trial.number for trial in loaded.trials] == list(range(TRIALS))
    assert loaded.best_trial.number == tuned["best"]["trial"]
    assert loaded.best_value == tuned["best"]["value"]
    for trial, frozen in zip(tuned["trials"], loaded.trials, strict=True):
        assert trial["params"] == frozen.params
        assert len(frozen.intermediate_values) == trial["epochs"]


def test_python_and_the_report_agree(tuned: dict[str, Any]) -> None:
    saved = clearsight.open_study(tuned["study"])
    assert saved.best is not None
    assert saved.best.values == (tuned["best"]["value"],)
    page = Path(run("report", tuned["study"]).stdout.strip())
    assert f"{tuned['best']['value']:.3f}"[:4] in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())


def test_a_mistake_is_one_sentence_and_no_folder(shared: Path, tmp_path: Path) -> None:
    """In processes of their own, whose workers have started already."""
    data = shared / "data" / "isic-2024"
    assert "Did you mean lr?" in error_of("tune", data, "--space", "lrr=log(1,2)", cwd=tmp_path)
    assert "photos-of-nobody" in error_of("tune", "photos-of-nobody", "-m", "tiny", cwd=tmp_path)
    said = error_of("tune", data, "-m", "tiny", "--storage", "mysqll://nobody/db", cwd=tmp_path)
    assert "mysqll" in said
    assert list(tmp_path.iterdir()) == []
