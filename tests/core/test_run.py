"""A run folder is plain files, and it opens whichever version wrote it."""

import json
from pathlib import Path

import pytest

from clearsight.core.errors import NotFound, NotResumable
from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Provenance, Run, RunFolder
from clearsight.core.stop import StopKind, StopReason


def test_opens_as_it_was_saved(tmp_path: Path) -> None:
    run = Run.begin(
        tmp_path / "r", Recipe().replace(lr=0.5), data={"path": "x"}, provenance=Provenance(command=["clearsight"])
    )
    run.scores = {"valid": {"accuracy": 0.5}, "test": None}
    run.finish(RunStatus.STOPPED_EARLY, StopReason(StopKind.PATIENCE, "no better accuracy in 3 epochs"))
    again = Run.open(tmp_path / "r")
    assert again == run
    assert again.status is RunStatus.STOPPED_EARLY
    assert again.stop == StopReason(StopKind.PATIENCE, "no better accuracy in 3 epochs")


def test_a_run_that_goes_on_has_no_stop_reason(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "r", Recipe())
    run.finish(RunStatus.INTERRUPTED, StopReason(StopKind.SIGNAL, "stopped by SIGINT"))
    run.end(RunStatus.RUNNING)
    assert (run.stop, run.reason, run.stop_kind) == (None, "", None)


def test_a_run_of_an_earlier_version_opens(tmp_path: Path) -> None:
    """Its run.json has a reason without a kind, and an earlier name of saved_seconds."""
    run = Run.begin(tmp_path / "r", Recipe())
    state = json.loads(run.files.state.read_text())
    del state["stop_kind"], state["saved_seconds"]
    run.files.state.write_text(
        json.dumps({**state, "reason": "the time limit of 9 s was reached", "spared_seconds": 2.5})
    )
    again = Run.open(run.path)
    assert (again.reason, again.stop_kind, again.saved_seconds) == ("the time limit of 9 s was reached", None, 2.5)


def test_a_stop_kind_of_a_later_version_is_unknown(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "r", Recipe())
    state = json.loads(run.files.state.read_text())
    run.files.state.write_text(json.dumps({**state, "reason": "the moon was full", "stop_kind": "moon"}))
    assert Run.open(run.path).stop == StopReason(StopKind.UNKNOWN, "the moon was full")


def test_never_overwrites_a_run(tmp_path: Path) -> None:
    Run.begin(tmp_path / "r", Recipe())
    with pytest.raises(NotResumable, match="--resume"):
        Run.begin(tmp_path / "r", Recipe())


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no run\.json"):
        Run.open(tmp_path)


def test_file_names_of_a_run_folder_are_stable(tmp_path: Path) -> None:
    """Other programs read these files: a name that changes breaks them."""
    files = RunFolder(tmp_path)
    paths = (files.state, files.recipe, files.log, files.metrics(), files.metrics(1), files.findings)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        *("run.json", "recipe.yaml", "log.txt", "metrics.jsonl", "metrics.1.jsonl", "findings.jsonl"),
    ]
    paths = (files.tensors, files.profile, files.checkpoints, files.bundle, files.scores, files.predictions)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        *("tensors", "profile", "checkpoints", "model", "evaluation/metrics.json", "evaluation/predictions.csv"),
    ]
