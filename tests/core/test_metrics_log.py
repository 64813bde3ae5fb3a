"""metrics.jsonl holds every scalar of every step, whatever ends the process."""

import json
from pathlib import Path

from clearsight.core.events import EpochRecord, RunStatus, StepRecord
from clearsight.core.files import read_jsonl
from clearsight.core.metrics_log import MetricsLog
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run


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
