"""A run that grows is seen as it is, and is not touched by that."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from clearsight.core.errors import NotFound
from clearsight.core.events import RunStatus
from clearsight.core.metrics_log import MetricsLog
from clearsight.workflow.live.run import LiveRun
from tests.workflow.made_runs import STEPS, found, made_run, profiled, train


def looked(path: Path) -> LiveRun:
    live = LiveRun(path)
    live.look()
    return live


def test_a_run_that_has_just_begun_knows_its_plan(tmp_path: Path) -> None:
    made_run(tmp_path / "r", done=0, status=RunStatus.RUNNING)
    live = looked(tmp_path / "r")
    assert (live.step, live.epoch, live.planned, live.ended) == (0, 0, 3 * STEPS, False)
    assert (live.seconds_left, live.images_per_second, live.phases, live.gauges) == (None, None, {}, {})


def test_it_grows_with_the_run(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    live = looked(run.path)
    assert (live.step, live.epoch, len(live.epochs)) == (STEPS, 1, 1)
    train(run, [2], steps=5, whole=False)
    live.look()
    assert (live.step, live.epoch, len(live.epochs), len(live.losses)) == (STEPS + 5, 2, 1, STEPS + 5)
    assert live.scalars["lr"] == 1e-3 / 2
    assert live.images_per_second == pytest.approx(160)
    assert live.data_share == pytest.approx(0.1)


def test_epochs_are_those_that_the_run_itself_reads(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)
    live = looked(run.path)
    assert [json.loads(json.dumps(epoch.valid)) for epoch in live.epochs] == [row["valid"] for row in run.epochs()]
    assert [epoch.epoch for epoch in live.epochs] == [1, 2]
    assert live.epochs[1].best


def test_time_left_is_that_of_the_steps_at_first_and_of_the_last_epoch_later(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=0, status=RunStatus.RUNNING)
    train(run, [1], steps=10, whole=False)
    assert looked(run.path).seconds_left == pytest.approx(50 * 0.1)
    run = made_run(tmp_path / "later", done=1, status=RunStatus.RUNNING)
    assert looked(run.path).seconds_left == pytest.approx(40 * 2.5 / STEPS)


def test_several_processes_and_accumulated_batches_count(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=0, status=RunStatus.RUNNING, accumulate=2)
    profiled(run)
    told = run.path / "profile" / "machine.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"ranks": 2}))
    assert looked(run.path).planned == 3 * STEPS // 4


def test_going_back_to_a_checkpoint_forgets_what_came_after(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)
    live = looked(run.path)
    MetricsLog(run.path / "metrics.jsonl", last_step=STEPS).close()
    live.look()
    assert (live.rewinds, live.step, len(live.epochs), len(live.losses)) == (1, STEPS, 1, STEPS)


def test_the_profile_is_told_as_means_of_what_is_recent(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    profiled(run)
    live = looked(run.path)
    assert live.phases == pytest.approx({"data": 0.02, "forward": 0.03, "backward": 0.04, "other": 0.01})
    profiled(run, gauges={"cpu": 10.0, "gpu0": 50.0}, looks=20)
    live.look()
    assert live.gauges == {"cpu": 10.0, "gpu0": 50.0}


def test_findings_come_from_the_log_while_it_trains_and_from_the_judgement_in_the_end(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    stamp = "2026-01-01T00:00:00+00:00"
    finding = [f"{stamp} warning  DeadReLU, layer1: half of it is dead", f"{stamp} fix      --lr 0.001"]
    lines = [f"{stamp} data     320 train", *finding, f"{stamp} epoch 1/3  train loss 1", *finding]
    lines += [f"{stamp} severe   Other: something else", f"{stamp} fix      --lr 0.001"]
    (run.path / "log.txt").write_text("\n".join(lines) + "\n")
    live = looked(run.path)
    assert live.finding_lines() == [
        "warning  DeadReLU, layer1: half of it is dead",
        "fix      --lr 0.001",
        "severe   Other: something else",
        "fix      --lr 0.001",
    ]
    found(run)
    run.finish(RunStatus.COMPLETED)
    live.look()
    assert live.ended
    assert live.finding_lines()[0].startswith("warning  Overfit, steps 20 to 60")


def test_silence_is_measured(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    old = time.time() - 1000
    for file in (run.path / "metrics.jsonl", run.path / "run.json"):
        os.utime(file, (old, old))
    assert looked(run.path).silent == pytest.approx(1000, abs=60)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=1)
    profiled(run)

    def state() -> dict[str, str]:
        files = [file for file in run.path.rglob("*") if file.is_file()]
        return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    before = state()
    json.dumps(looked(run.path).to_json(), allow_nan=False)
    assert state() == before


def test_a_loss_that_is_no_number_is_no_json_and_no_point(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    with (run.path / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 21, "epoch": 2, "mode": "train", "name": "loss", "value": NaN}\n')
    live = looked(run.path)
    assert (live.step, len(live.losses)) == (21, STEPS)
    assert live.to_json()["scalars"]["loss"] is None


def test_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run in this folder"):
        LiveRun(tmp_path)
