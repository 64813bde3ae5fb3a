"""LiveRun follows a run that another process trains, and does not change its files."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import NotFound
from clearsight.core.events import RunStatus
from clearsight.core.finding import Finding, Severity
from clearsight.core.profile import GaugeSample, StepTimes
from clearsight.core.profile_folder import gauge_line, gauges_file, span_line, spans_file
from clearsight.core.run import MetricsLog
from clearsight.workflow.live import LiveMetrics, LiveProfile, LiveRun
from clearsight.workflow.messages import FindingsLog
from tests.workflow.run_folders import STEPS, append_epochs, append_profile, write_run, write_verdicts

FOUND = {
    "rule": "DeadRelu",
    "verdict": "found",
    "severity": "warning",
    "value": 1.0,
    "threshold": 0.5,
    "steps": [1, 9],
    "cause": "all of it is 0",
}


def followed(path: Path) -> LiveRun:
    """Return the state of the run now."""
    live = LiveRun(path)
    live.update()
    return live


def test_a_new_run_has_its_plan(tmp_path: Path) -> None:
    write_run(tmp_path / "r", done=0, status=RunStatus.RUNNING)
    live = followed(tmp_path / "r")
    assert (live.metrics.step, live.metrics.epoch, live.planned_steps, live.ended) == (0, 0, 3 * STEPS, False)
    assert (live.seconds_left, live.images_per_second, live.profile.phases, live.profile.gauges) == (None, None, {}, {})


def test_an_update_reads_the_new_steps_and_epochs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    live = followed(run.path)
    assert (live.metrics.step, live.metrics.epoch, len(live.metrics.epochs)) == (STEPS, 1, 1)
    append_epochs(run, [2], steps=5, whole=False)
    live.update()
    assert (live.metrics.step, live.metrics.epoch, len(live.metrics.epochs), len(live.metrics.losses)) == (
        STEPS + 5,
        2,
        1,
        STEPS + 5,
    )
    assert live.metrics.scalars["lr"] == 1e-3 / 2
    assert live.images_per_second == pytest.approx(160)
    assert live.metrics.data_share == pytest.approx(0.1)


def test_epochs_equal_those_of_the_saved_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)
    live = followed(run.path)
    assert [json.loads(json.dumps(epoch.valid)) for epoch in live.metrics.epochs] == [
        row["valid"] for row in run.epochs()
    ]
    assert [epoch.epoch for epoch in live.metrics.epochs] == [1, 2]
    assert live.metrics.epochs[1].best


def test_time_left_follows_the_steps_of_the_first_epoch_and_later_the_last_epoch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=0, status=RunStatus.RUNNING)
    append_epochs(run, [1], steps=10, whole=False)
    assert followed(run.path).seconds_left == pytest.approx(50 * 0.1)
    run = write_run(tmp_path / "later", done=1, status=RunStatus.RUNNING)
    assert followed(run.path).seconds_left == pytest.approx(40 * 2.5 / STEPS)


def test_planned_steps_count_processes_and_accumulated_batches(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=0, status=RunStatus.RUNNING, accumulate=2)
    append_profile(run)
    machine_file = run.path / "profile" / "machine.json"
    machine_file.write_text(json.dumps(json.loads(machine_file.read_text()) | {"ranks": 2}))
    assert followed(run.path).planned_steps == 3 * STEPS // 4


def test_after_a_return_to_a_checkpoint_later_steps_are_forgotten(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)
    live = followed(run.path)
    MetricsLog(run.path / "metrics.jsonl", last_step=STEPS).close()
    live.update()
    assert (live.metrics.rewinds, live.metrics.step, len(live.metrics.epochs), len(live.metrics.losses)) == (
        1,
        STEPS,
        1,
        STEPS,
    )


def test_the_profile_is_the_mean_of_recent_samples(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    append_profile(run)
    live = followed(run.path)
    assert live.profile.phases == pytest.approx({"data": 0.02, "forward": 0.03, "backward": 0.04, "other": 0.01})
    append_profile(run, gauges={"cpu": 10.0, "gpu0": 50.0}, samples=20)
    live.update()
    assert live.profile.gauges == {"cpu": 10.0, "gpu0": 50.0}


def test_findings_are_read_in_order_of_time_and_ranked_after_the_end(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    dead = Finding.from_json(
        {**FOUND, "rule": "DeadRelu", "subject": "layer1", "cause": "half of it is 0", "fix": {"lr": 0.001}}
    )
    other = replace(dead, rule="Other", subject="", severity=Severity.SEVERE, cause="something else", fix={})
    log = FindingsLog(run.files.live_findings)
    for finding in (dead, other, dead):  # after a return to a checkpoint the run finds the same again
        log.on_finding(finding)
    live = followed(run.path)
    assert live.finding_lines() == [
        "warning  DeadRelu, layer1, steps 1 to 9: half of it is 0",
        "fix      --lr 0.001",
        "severe   Other, steps 1 to 9: something else",
    ]
    log.on_finding(replace(other, rule="Third"))
    live.update()
    assert [finding.rule for finding in live.findings()] == ["DeadRelu", "Other", "Third"]
    write_verdicts(run)
    run.finish(RunStatus.COMPLETED)
    live.update()
    assert live.ended
    assert live.finding_lines()[0].startswith("warning  Overfit, steps 20 to 60")


def test_a_half_written_finding_is_read_when_complete(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    FindingsLog(run.files.live_findings).on_finding(Finding.from_json(FOUND))
    whole = run.files.live_findings.read_bytes()
    run.files.live_findings.write_bytes(whole + whole[:40])
    live = followed(run.path)
    assert len(live.findings()) == 1
    run.files.live_findings.write_bytes(whole + whole.replace(b"DeadRelu", b"EarlyNaN"))
    live.update()
    assert [finding.rule for finding in live.findings()] == ["DeadRelu", "EarlyNaN"]


def test_silent_seconds_count_from_the_last_write(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    old = time.time() - 1000
    for file in (run.path / "metrics.jsonl", run.path / "run.json"):
        os.utime(file, (old, old))
    assert followed(run.path).silent_seconds == pytest.approx(1000, abs=60)


def test_following_a_run_changes_no_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=1)
    append_profile(run)

    def state() -> dict[str, str]:
        files = [file for file in run.path.rglob("*") if file.is_file()]
        return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    before = state()
    json.dumps(followed(run.path).to_json(), allow_nan=False)
    assert state() == before


def test_a_nan_loss_is_null_in_json_and_no_point_of_the_curve(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    with (run.path / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 21, "epoch": 2, "mode": "train", "name": "loss", "value": NaN}\n')
    live = followed(run.path)
    assert (live.metrics.step, len(live.metrics.losses)) == (21, STEPS)
    assert live.to_json()["scalars"]["loss"] is None


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run in this folder"):
        LiveRun(tmp_path)


def append(path: Path, *rows: tuple[str, Any], step: int, epoch: int = 1, mode: str = "train") -> None:
    with path.open("a", encoding="utf-8") as file:
        for name, value in rows:
            row = {"step": step, "epoch": epoch, "mode": mode, "name": name, "value": value}
            file.write(json.dumps(row) + "\n")


def end_epoch(path: Path, *, step: int, epoch: int, best: bool = True) -> None:
    values = {"epoch_loss": 0.5, "epoch_lr": 0.1, "epoch_images_per_second": 100.0, "epoch_data_share": 0.2}
    values |= {"epoch_seconds": 3.0, "valid_loss": 0.6, "valid_accuracy": 0.7, "epoch_best": float(best)}
    append(path, *values.items(), step=step, epoch=epoch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def metrics(path: Path) -> LiveMetrics:
    return LiveMetrics(path, epochs=3)


def test_before_the_first_step_there_is_nothing(metrics: LiveMetrics) -> None:
    metrics.update()
    assert (metrics.step, metrics.losses, metrics.epochs) == (0, [], [])
    assert (metrics.step_seconds, metrics.data_share) == (None, None)


def test_an_update_reads_only_what_was_appended(path: Path, metrics: LiveMetrics) -> None:
    append(path, ("loss", 2.0), ("lr", 0.1), step=1)
    metrics.update()
    append(path, ("loss", 1.0), step=2)
    metrics.update()
    assert metrics.losses == [(1, 2.0), (2, 1.0)]
    assert metrics.scalars == {"loss": 1.0, "lr": 0.1}


def test_speeds_are_means_of_recent_steps(path: Path, metrics: LiveMetrics) -> None:
    for step in range(1, 101):
        append(path, ("step_seconds", 10.0 if step <= 50 else 0.5), ("data_seconds", 0.1), step=step)
    metrics.update()
    assert metrics.step_seconds == pytest.approx(0.5)  # the 50 slow steps are no longer recent
    assert metrics.data_share == pytest.approx(0.2)


def test_scalars_of_an_evaluation_are_no_training_steps(path: Path, metrics: LiveMetrics) -> None:
    append(path, ("loss", 1.0), step=1)
    append(path, ("loss", 9.0), step=2, mode="eval")
    metrics.update()
    assert (metrics.step, metrics.losses) == (1, [(1, 1.0)])


def test_an_epoch_is_finished_by_its_last_line(path: Path, metrics: LiveMetrics) -> None:
    append(path, ("epoch_loss", 0.5), ("valid_loss", 0.6), step=10)
    metrics.update()
    assert metrics.epochs == []
    path.unlink()
    end_epoch(path, step=10, epoch=1)
    end_epoch(path, step=20, epoch=2, best=False)
    metrics.update()
    first, second = metrics.epochs
    assert (first.epoch, first.epochs, first.step, first.best, second.best) == (1, 3, 10, True, False)
    assert (first.train, first.valid) == ({"loss": 0.5}, {"loss": 0.6, "accuracy": 0.7})
    assert (first.lr, first.images_per_second, first.data_share, first.seconds) == (0.1, 100.0, 0.2, 3.0)


def test_null_and_infinite_losses_are_no_points(path: Path, metrics: LiveMetrics) -> None:
    append(path, ("loss", None), step=1)
    append(path, ("loss", float("inf")), step=2)
    append(path, ("loss", 1.0), step=3)
    metrics.update()
    assert metrics.losses == [(3, 1.0)]


def test_a_rewritten_file_is_read_again_from_its_start(path: Path, metrics: LiveMetrics) -> None:
    for step in (1, 2, 3):
        append(path, ("loss", float(step)), step=step)
    metrics.update()
    path.unlink()
    append(path, ("loss", 1.0), step=1)
    metrics.update()
    assert (metrics.rewinds, metrics.losses, metrics.step) == (1, [(1, 1.0)], 1)


def append_steps(folder: Path, seconds: Sequence[float], phases: dict[str, float]) -> None:
    with spans_file(folder).open("a", encoding="utf-8") as file:
        for number, duration in enumerate(seconds, start=1):
            times = StepTimes(step=number, epoch=1, start=0.0, seconds=duration, samples=8, phases=phases)
            file.write(span_line(times))


def append_samples(folder: Path, *samples: dict[str, float]) -> None:
    with gauges_file(folder).open("a", encoding="utf-8") as file:
        file.writelines(gauge_line(GaugeSample(time=float(i), values=values)) for i, values in enumerate(samples))


@pytest.fixture
def profile(tmp_path: Path) -> LiveProfile:
    return LiveProfile(tmp_path)


def test_a_folder_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    profile = LiveProfile(tmp_path / "later")
    profile.update()
    assert (profile.phases, profile.gauges, profile.ranks) == ({}, {}, 1)


def test_phases_are_mean_seconds_and_the_rest_of_the_step_is_other(tmp_path: Path, profile: LiveProfile) -> None:
    append_steps(tmp_path, [1.0, 2.0], {"forward": 0.5, "data": 0.25, "own": 0.25})
    profile.update()
    assert profile.phases == pytest.approx({"data": 0.25, "forward": 0.5, "own": 0.25, "other": 0.5})
    assert [*profile.phases] == ["data", "forward", "own", "other"]  # known phases in their order, then the others


def test_only_the_last_fifty_steps_count(tmp_path: Path, profile: LiveProfile) -> None:
    append_steps(tmp_path, [100.0] * 10 + [1.0] * 50, {"forward": 1.0})
    profile.update()
    assert profile.phases == pytest.approx({"forward": 1.0, "other": 0.0})


def test_gauges_are_means_of_the_samples_that_have_them(tmp_path: Path, profile: LiveProfile) -> None:
    append_samples(tmp_path, {"cpu": 10.0}, {"cpu": 30.0, "gpu0": 50.0})
    profile.update()
    assert profile.gauges == {"cpu": 20.0, "gpu0": 50.0}


def test_ranks_are_those_of_the_machine_file(tmp_path: Path, profile: LiveProfile) -> None:
    (tmp_path / "machine.json").write_text(json.dumps({"ranks": 4}))
    profile.update()
    assert profile.ranks == 4
