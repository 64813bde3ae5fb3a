"""A run folder is plain files, and it opens whichever version wrote it; metrics.jsonl holds every scalar."""

import json
import sys
from pathlib import Path

import pytest

from clearsight.core.errors import NotFound, NotResumable
from clearsight.core.events import EpochRecord, RunStatus, StepRecord
from clearsight.core.files import read_jsonl
from clearsight.core.recipe import Recipe
from clearsight.core.run import MetricsLog, Provenance, Run, RunFolder
from clearsight.core.stop import StopKind, StopReason


@pytest.mark.skipif(sys.platform != "linux", reason="the start of a process is read from /proc")
def test_a_running_run_whose_process_is_over_was_interrupted(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "r", Recipe())
    assert Run.open(run.path).status is RunStatus.RUNNING
    run.process = {**run.process, "start": "of a process that is over"}
    run.save()
    assert (Run.open(run.path).status, Run.open(run.path).stop_kind) == (RunStatus.INTERRUPTED, StopKind.KILLED)
    run.finish(RunStatus.COMPLETED)
    assert Run.open(run.path).status is RunStatus.COMPLETED


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


def step(number: int, epoch: int = 1) -> StepRecord:
    return StepRecord(step=number, epoch=epoch, mode="train", scalars={"loss": 1 / number})


def epoch(number: int, at: int) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        epochs=2,
        step=at,
        lr=0.1,
        train={"loss": 0.5, "accuracy": 0.75},
        valid={"loss": 0.6, "accuracy": 0.7, "macro_f1": 0.7},
        images_per_second=100.0,
        data_share=0.25,
        seconds=2.0,
        best=True,
    )


def test_every_scalar_of_every_step_is_kept(tmp_path: Path) -> None:
    writer = MetricsLog(tmp_path / "metrics.jsonl")
    for number in range(1, 101):
        writer.on_step(step(number))
    writer.on_end(RunStatus.COMPLETED, "")
    values = [line["value"] for line in read_jsonl(tmp_path / "metrics.jsonl") if line["name"] == "loss"]
    assert values == [1 / number for number in range(1, 101)]


def test_a_step_is_in_the_file_before_the_next_one_begins(tmp_path: Path) -> None:
    """A kill -9 after a step cannot take the step with it."""
    writer = MetricsLog(tmp_path / "metrics.jsonl")
    writer.on_step(step(1))
    names = [json.loads(line)["name"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert names == ["loss", "step_seconds", "data_seconds"]
    writer.on_end(RunStatus.COMPLETED, "")


def test_resuming_drops_the_steps_after_the_checkpoint(tmp_path: Path) -> None:
    writer = MetricsLog(tmp_path / "metrics.jsonl")
    for number in range(1, 11):
        writer.on_step(step(number))
    writer.on_end(RunStatus.INTERRUPTED, "")
    with (tmp_path / "metrics.jsonl").open("a") as torn:
        torn.write('{"step": 11, "epo')
    again = MetricsLog(tmp_path / "metrics.jsonl", last_step=6)
    again.on_step(step(7))
    again.on_end(RunStatus.COMPLETED, "")
    losses = [line for line in read_jsonl(tmp_path / "metrics.jsonl") if line["name"] == "loss"]
    assert [line["step"] for line in losses] == [1, 2, 3, 4, 5, 6, 7]


def test_a_run_reads_its_epochs_back(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "r", Recipe().replace(epochs=2))
    writer = MetricsLog(run.files.metrics())
    writer.on_step(step(1))
    writer.on_epoch(epoch(1, 1))
    writer.on_step(step(2, 2))
    writer.on_epoch(epoch(2, 2))
    writer.on_end(RunStatus.COMPLETED, "")
    assert [row["epoch"] for row in run.epochs()] == [1, 2]
    first = run.epochs()[0]
    assert first["valid"] == {"loss": 0.6, "accuracy": 0.7, "macro_f1": 0.7}
    assert first["train"] == {"loss": 0.5, "accuracy": 0.75}
    assert (first["epochs"], first["best"], first["data_share"]) == (2, True, 0.25)
