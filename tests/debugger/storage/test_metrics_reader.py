"""MetricsReader: metrics.jsonl becomes the scalars of the running training, whole or as it grows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadData
from clearsight.core.events import EpochRecord, RunStatus, StepRecord
from clearsight.core.run import MetricsLog
from clearsight.core.tensors import Moment, Scalars
from clearsight.debugger.storage.metrics_reader import MetricsReader


def line(step: int, name: str = "loss", value: float | None = 1.0, mode: str = "train", **more: Any) -> str:
    return json.dumps({"step": step, "epoch": 1, "mode": mode, "name": name, "value": value, **more}) + "\n"


def scalars(step: int, **values: float) -> Scalars:
    return Scalars(Moment("train", step, 1, step), values)


def test_lines_of_one_moment_are_one_record(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1) + line(1, "lr", 0.1) + line(2))
    assert MetricsReader(path).scalars() == [scalars(1, loss=1.0, lr=0.1), scalars(2, loss=1.0)]


def test_every_accumulated_batch_of_a_step_is_a_record(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1, value=1.0) + line(1, value=2.0))
    assert MetricsReader(path).scalars() == [scalars(1, loss=1.0), scalars(1, loss=2.0)]


def test_what_training_writes_is_read_without_its_means_over_epochs(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsLog(path)
    writer.on_step(StepRecord(step=1, epoch=1, mode="train", scalars={"loss": math.inf, "lr": 0.1}))
    means: dict[str, Any] = {"train": {"loss": 2.0}, "valid": {"loss": 3.0}, "lr": 0.1, "images_per_second": 1.0}
    writer.on_epoch(EpochRecord(epoch=1, epochs=1, step=1, data_share=0.0, seconds=1.0, best=True, **means))
    writer.on_end(RunStatus.COMPLETED, "")
    trained, evaluated = MetricsReader(path).scalars()
    assert (trained.at, evaluated) == (scalars(1).at, Scalars(Moment("eval", 1, 1, 1), {"valid_loss": 3.0}))
    assert (trained.values["loss"], trained.values["lr"]) == (math.inf, 0.1)


def test_an_evaluation_may_name_its_training_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(3, mode="eval", train_step=40))
    assert MetricsReader(path).scalars() == [Scalars(Moment("eval", 3, 1, 40), {"loss": 1.0})]


def test_a_cut_last_line_is_left_out_until_it_is_whole(tmp_path: Path) -> None:
    path, text = tmp_path / "metrics.jsonl", line(1) + line(2)
    path.write_text(text[:-4])
    reader = MetricsReader(path)
    assert reader.scalars() == reader.follow() == [scalars(1, loss=1.0)]
    path.write_text(text)
    assert reader.follow() == [scalars(2, loss=1.0)]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1) + '{"step": 2\n' + line(3))
    with pytest.raises(BadData, match=r"metrics\.jsonl: line 2 is damaged"):
        MetricsReader(path).scalars()


def test_every_line_is_returned_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    reader = MetricsReader(path)
    assert reader.follow() == []
    for step in (1, 2, 3):
        with path.open("a") as stream:
            stream.write(line(step))
        assert reader.follow() == [scalars(step, loss=1.0)]
    assert reader.follow() == []


def test_of_a_resumed_run_what_is_new_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line(step) for step in (1, 2, 3)))
    reader = MetricsReader(path)
    assert len(reader.follow()) == 3
    writer = MetricsLog(path, last_step=1)
    assert reader.follow() == []
    writer.on_step(StepRecord(step=2, epoch=1, mode="train", scalars={"loss": 0.5}))
    writer.on_end(RunStatus.COMPLETED, "")
    (new,) = reader.follow()
    assert (new.at.step, new.values["loss"]) == (2, 0.5)


def test_no_file_holds_nothing(tmp_path: Path) -> None:
    assert MetricsReader(tmp_path / "none").scalars() == []
