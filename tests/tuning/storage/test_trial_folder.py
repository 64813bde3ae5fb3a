"""TrialFolder: every file of a trial is whole or absent."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.storage.trial_folder import TrialFolder, trial_numbers

PARAMS = {"lr": 0.1 + 0.2, "optimizer": "sgd", "epochs": 5, "feature_cache": True, "image_size": None}


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return TrialFolder(tmp_path / "trials" / "0003")


def test_a_proposal_comes_back(folder: TrialFolder) -> None:
    assert folder.proposal() is None
    folder.write_proposal(PARAMS)
    assert folder.proposal() == (PARAMS, 1)
    folder.write_proposal(PARAMS, attempts=3)
    assert folder.proposal() == (PARAMS, 3)


def test_a_result_comes_back(folder: TrialFolder) -> None:
    assert folder.result() is None
    result = TrialResult(number=3, state=TrialState.COMPLETE, values=(0.5,), curve={2: {"accuracy": 0.5}}, seconds=2.5)
    folder.write_result(result)
    assert folder.result() == result


def test_a_nan_objective_is_null_on_disk(folder: TrialFolder) -> None:
    folder.write_result(TrialResult(number=3, state=TrialState.COMPLETE, values=(math.nan,), scores={"loss": math.inf}))
    result = folder.result()
    assert result is not None
    assert math.isnan(result.values[0])
    assert json.loads((folder.path / "outcome.json").read_text())["values"] == [None]


def test_a_failed_write_leaves_nothing(folder: TrialFolder) -> None:
    folder.write_proposal(PARAMS)
    with pytest.raises(TypeError):
        folder.write_proposal({"lr": object()})  # type: ignore[dict-item]
    assert [file.name for file in folder.path.iterdir()] == ["trial.json"]
    assert folder.proposal() == (PARAMS, 1)


def test_clear_removes_the_folder(folder: TrialFolder) -> None:
    folder.clear()  # without effect yet
    folder.write_proposal(PARAMS)
    (folder.path / "run").mkdir()
    folder.clear()
    assert not folder.path.exists()


def test_weights_are_deleted_and_scores_stay(folder: TrialFolder) -> None:
    folder.write_proposal(PARAMS)
    checkpoints = folder.path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for file in (folder.path / "head.safetensors", checkpoints / "best.safetensors", checkpoints / "newest.json"):
        file.touch()
    folder.delete_weights()
    folder.delete_weights()  # without effect now
    files = sorted(str(file.relative_to(folder.path)) for file in folder.path.rglob("*") if file.is_file())
    assert files == ["run/checkpoints/newest.json", "trial.json"]


def test_trial_numbers_come_from_the_folders(tmp_path: Path) -> None:
    assert trial_numbers(tmp_path / "none") == []
    for name in ("0010", "0002", "12345", "notes", ".0003.part"):
        (tmp_path / name).mkdir()
    assert trial_numbers(tmp_path) == [2, 10, 12345]
