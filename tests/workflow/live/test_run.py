"""LiveRun follows a run that another process trains, and does not change its files."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from clearsight.core.errors import NotFound
from clearsight.core.events import RunStatus
from clearsight.core.finding import Finding, Severity
from clearsight.core.run import MetricsLog
from clearsight.workflow.live.run import LiveRun
from clearsight.workflow.run.log import FindingsLog
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
