"""SavedStudy reads the trials of a study, running or ended; open_run reads a run folder."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import clearsight
from clearsight.core.errors import NotFound
from clearsight.core.trial import TrialState
from clearsight.debugger.storage.tensor_store import FileTensorStore
from clearsight.workflow.open import SavedStudy, open_study
from tests.debugger.records import raw, scalars
from tests.workflow.study_folders import (
    ACCURACY,
    BETTER,
    FAILED,
    GOOD,
    PARAMETERS,
    PRUNED,
    START,
    begin_study,
    trial_result,
    write_study,
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SavedStudy:
    folder = tmp_path_factory.mktemp("studies") / "photos"
    return open_study(write_study(folder, [GOOD, BETTER, PRUNED, FAILED], running=1).path)


@pytest.fixture(autouse=True)
def _without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_the_best_and_the_trials(found: SavedStudy) -> None:
    assert found.best is not None
    assert (found.best.number, found.best.values) == (1, (0.9,))
    assert [trial.state.value for trial in found.trials] == ["complete", "complete", "pruned", "failed", "running"]
    assert [trial.number for trial in found.front] == [1]
    assert found.best_run is None  # its model is not trained yet


def test_a_study_without_trials_has_no_best(tmp_path: Path) -> None:
    found = open_study(str(begin_study(tmp_path / "photos").path))
    assert (found.best, found.front, found.trials, found.best_run, found.importances()) == (None, [], [], None, {})
    assert found.to_frame() == []


def test_a_folder_without_a_study_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no study in this folder"):
        open_study(tmp_path)


def test_a_front_of_two_objectives(tmp_path: Path) -> None:
    results = [trial_result(TrialState.COMPLETE, *values) for values in ((0.9, 50.0), (0.8, 10.0), (0.7, 20.0))]
    found = open_study(write_study(tmp_path / "photos", results, objectives=(ACCURACY, PARAMETERS)).path)
    assert [trial.number for trial in found.front] == [0, 1]
    assert found.best is not None
    assert found.best.number == 0
    rows = found.to_frame()
    assert [(row["accuracy"], row["parameters"]) for row in rows] == [(0.9, 50.0), (0.8, 10.0), (0.7, 20.0)]


def test_importances_name_every_field(tmp_path: Path) -> None:
    results = [trial_result(TrialState.COMPLETE, 0.5 + number / 100) for number in range(12)]
    shares = open_study(write_study(tmp_path / "photos", results).path).importances()
    assert set(shares) == {"fanova", "ped-anova"} or shares
    for shares_of_fields in shares.values():
        assert "lr" in shares_of_fields
        assert all(0 <= share <= 1 + 1e-9 for share in shares_of_fields.values())


# --- as a table -------------------------------------------------------------------------------------------------------


def test_a_row_per_trial(found: SavedStudy) -> None:
    rows = found.to_frame()
    first = rows[0]
    assert list(first) == [
        *("number", "state", "accuracy", "lr", "epochs", "optimizer", "momentum"),
        *("best_epoch", "trained_epochs", "started", "duration", "worker", "reason", "same_as"),
    ]
    assert (first["number"], first["state"], first["accuracy"], first["duration"]) == (0, "complete", 0.7, 10.0)
    assert first["started"] == datetime.datetime.fromtimestamp(START, datetime.UTC)
    assert (rows[2]["accuracy"], rows[2]["reason"]) == (None, "it is worse than the others")
    assert [row["state"] for row in rows] == ["complete", "complete", "pruned", "failed", "running"]


def test_a_field_that_does_not_apply_is_none(found: SavedStudy) -> None:
    for row in found.to_frame():
        assert (row["momentum"] is None) is (row["optimizer"] == "adamw")


def test_the_epochs_setting_and_the_trained_epochs_are_two_columns(found: SavedStudy) -> None:
    pruned = found.to_frame()[2]
    assert (pruned["epochs"], pruned["trained_epochs"]) == (2, 1)


def test_the_columns_of_sagemaker(found: SavedStudy) -> None:
    rows = found.to_frame("sagemaker")
    first = rows[0]
    assert list(first) == [
        *("lr", "epochs", "optimizer", "momentum"),
        *("TrainingJobName", "TrainingJobStatus", "FinalObjectiveValue"),
        *("TrainingStartTime", "TrainingEndTime", "TrainingElapsedTimeSeconds"),
    ]
    assert isinstance(first["lr"], float)
    assert (first["epochs"], type(first["epochs"])) == (2.0, float)
    assert {row["optimizer"] for row in rows} <= {'"sgd"', '"adamw"'}
    assert [row["TrainingJobName"] for row in rows] == [f"photos-{place:03d}" for place in range(1, 6)]
    statuses = ["Completed", "Completed", "Stopped", "Failed", "InProgress"]
    assert [row["TrainingJobStatus"] for row in rows] == statuses
    assert [row["FinalObjectiveValue"] for row in rows] == [
        0.7,
        0.9,
        0.1,
        None,
        None,
    ]  # the pruned trial has the value of its last epoch
    start = datetime.datetime.fromtimestamp(START, datetime.UTC)
    assert first["TrainingStartTime"] == start
    assert first["TrainingEndTime"] == start + datetime.timedelta(seconds=10)
    assert first["TrainingElapsedTimeSeconds"] == 10.0
    assert (rows[4]["TrainingEndTime"], rows[4]["TrainingElapsedTimeSeconds"]) == (None, None)


def test_with_pandas_it_is_a_frame(found: SavedStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas: Any = ModuleType("pandas")
    pandas.DataFrame = lambda rows: ("frame", len(rows))
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert found.to_frame() == ("frame", 5)


def test_open_study_does_not_import_torch(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "photos", [GOOD]).path
    code = (
        f"import sys, clearsight; print(clearsight.open_study({str(folder)!r}).best.values); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "(0.7,)\n"), done.stderr


def test_a_run_folder_opens_by_its_name(tmp_path: Path) -> None:
    FileTensorStore(tmp_path / "tensors").append([scalars(1), raw(1)])
    assert clearsight.open_run(str(tmp_path)).tensor_names() == ["loss", "input_channels"]


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run in this folder"):
        clearsight.open_run(tmp_path)
