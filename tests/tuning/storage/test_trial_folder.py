"""The folder of a trial is the truth about it: every file is whole or absent."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.storage.trial_folder import TrialFolder, numbers

POINT = {"lr": 0.1 + 0.2, "optimizer": "sgd", "epochs": 5, "feature_cache": True, "image_size": None}


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return TrialFolder(tmp_path / "trials" / "0003")


def test_a_point_comes_back_as_it_was_proposed(folder: TrialFolder) -> None:
    assert folder.proposed() is None
    folder.propose(POINT)
    assert folder.proposed() == (POINT, 1)
    folder.propose(POINT, attempts=3)
    assert folder.proposed() == (POINT, 3)


def test_an_outcome_comes_back_as_it_was_kept(folder: TrialFolder) -> None:
    assert folder.outcome() is None
    outcome = TrialResult(number=3, state=TrialState.COMPLETE, values=(0.5,), curve={2: {"accuracy": 0.5}}, seconds=2.5)
    folder.conclude(outcome)
    assert folder.outcome() == outcome


def test_an_objective_that_is_no_number_can_be_kept(folder: TrialFolder) -> None:
    folder.conclude(TrialResult(number=3, state=TrialState.COMPLETE, values=(math.nan,), scores={"loss": math.inf}))
    kept = folder.outcome()
    assert kept is not None
    assert math.isnan(kept.values[0])
    assert json.loads((folder.path / "outcome.json").read_text())["values"] == [None]


def test_nothing_but_whole_files_is_left(folder: TrialFolder) -> None:
    folder.propose(POINT)
    with pytest.raises(TypeError):
        folder.propose({"lr": object()})  # type: ignore[dict-item]
    assert [file.name for file in folder.path.iterdir()] == ["trial.json"]
    assert folder.proposed() == (POINT, 1)


def test_is_forgotten_whole(folder: TrialFolder) -> None:
    folder.clear()  # nothing there yet
    folder.propose(POINT)
    (folder.path / "run").mkdir()
    folder.clear()
    assert not folder.path.exists()


def test_the_weights_go_and_the_numbers_stay(folder: TrialFolder) -> None:
    folder.propose(POINT)
    checkpoints = folder.path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for file in (folder.path / "head.safetensors", checkpoints / "best.safetensors", checkpoints / "newest.json"):
        file.touch()
    folder.drop_weights()
    folder.drop_weights()  # nothing left to drop
    left = sorted(str(file.relative_to(folder.path)) for file in folder.path.rglob("*") if file.is_file())
    assert left == ["run/checkpoints/newest.json", "trial.json"]


def test_numbers_are_those_of_the_folders(tmp_path: Path) -> None:
    assert numbers(tmp_path / "none") == []
    for name in ("0010", "0002", "12345", "notes", ".0003.part"):
        (tmp_path / name).mkdir()
    assert numbers(tmp_path) == [2, 10, 12345]
