"""Lines about a run, the same in the terminal and in log.txt; findings.live.jsonl has those of a running job."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.files import write_json
from clearsight.core.finding import Finding, Resolution, Severity, Verdict, write_findings
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.messages import LogWriter, end_lines, epoch_line

LR_TOO_HIGH = Finding(
    rule="LearningRateTooHigh",
    verdict=Verdict.FOUND,
    severity=Severity.SEVERE,
    cause="the loss jumps",
    fix={"lr": 1e-3},
    group="LearningRateTooHigh",
)


def test_an_epoch_is_one_line() -> None:
    record = EpochRecord(
        epoch=3,
        epochs=10,
        step=30,
        lr=1e-3,
        train={"loss": 0.5, "accuracy": 0.75},
        valid={"loss": 0.6, "accuracy": 0.7},
        images_per_second=1234.5,
        data_share=0.031,
        seconds=1.0,
        best=True,
    )
    assert epoch_line(record) == (
        "epoch  3/10  train loss 0.5000 accuracy 0.7500  valid loss 0.6000 accuracy 0.7000  1,234 images/s"
        "  data wait 3 %  best"
    )


@pytest.mark.parametrize(
    ("status", "seconds", "first", "last"),
    [
        (RunStatus.COMPLETED, 12.34, "completed after 12.3 s", "export"),
        (RunStatus.INTERRUPTED, 3700.0, "interrupted (stopped by SIGINT) after 1 h 01 min", "--resume"),
    ],
)
def test_the_end_lists_the_next_commands(
    tmp_path: Path, status: RunStatus, seconds: float, first: str, last: str
) -> None:
    run = Run.begin(tmp_path / "r", Recipe())
    run.status, run.seconds = status, seconds
    run.reason = "stopped by SIGINT" if status is RunStatus.INTERRUPTED else ""
    (run.bundle / "bundle.json").write_text("{}")
    run.files.report.write_text("page")
    lines = end_lines(run)
    assert lines[0] == first
    assert last in lines[-1]


@pytest.mark.parametrize("with_finding", [True, False])
def test_a_diverged_run_ends_with_its_report_and_the_command_that_mends_it(tmp_path: Path, with_finding: bool) -> None:
    run = Run.begin(tmp_path / "r", Recipe().replace(lr=0.5), data={"path": "photos"})
    run.finish(RunStatus.DIVERGED, StopReason(StopKind.DIVERGED, "the loss is NaN"))
    run.files.report.write_text("page")
    if with_finding:
        write_findings(run.files.findings, [LR_TOO_HIGH])
    mended = "--lr 0.001" if with_finding else "--lr 0.05"
    assert end_lines(run)[-2:] == [
        f"report   {run.files.report}",
        f"next     clearsight train photos --recipe {run.files.recipe} {mended}",
    ]


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_failed_run_goes_on_from_its_checkpoint(tmp_path: Path, has_checkpoint: bool) -> None:
    run = Run.begin(tmp_path / "r", Recipe())
    run.finish(RunStatus.FAILED, StopReason(StopKind.FAILURE, "no space left"))
    run.files.report.write_text("page")
    if has_checkpoint:
        (run.checkpoints / "newest.pt").write_text("")
    resume = [f"next     clearsight train --resume {run.path}"] if has_checkpoint else []
    assert end_lines(run)[1:] == [f"report   {run.files.report}", *resume]


def test_lines_carry_the_time_and_are_appended(tmp_path: Path) -> None:
    for reason in ("stopped by SIGINT", ""):
        LogWriter(tmp_path / "log.txt").on_end(RunStatus.INTERRUPTED, reason)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["interrupted: stopped by SIGINT", "interrupted"]
    assert all(line.startswith("20") and "+00:00 " in line for line in lines)


def test_it_is_not_vital(tmp_path: Path) -> None:
    assert LogWriter(tmp_path / "log.txt").vital is False


def test_the_end_says_how_the_probabilities_were_calibrated(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "r", Recipe())
    run.status, run.calibration = RunStatus.COMPLETED, {"temperature": 1.5, "images": 200, "errors": 31}
    (run.bundle / "bundle.json").write_text("{}")
    scores = {"split": "test", "loss": 0.5, "loss_served": 0.4, "ece": 0.02, "ece_uncalibrated": 0.09}
    write_json(run.files.scores, scores)
    lines = end_lines(run)
    at = lines.index("served   temperature 1.5, from 200 validation images with 31 errors")
    assert lines[at + 1] == "         test loss 0.5000 -> 0.4000, calibration error (ECE) 0.0900 -> 0.0200"
    run.calibration = {"temperature": 1.0, "images": 6, "errors": 0}
    assert "served   not calibrated: 6 validation images without an error" in end_lines(run)


def test_the_end_names_failed_steps_and_findings_that_are_gone(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "r", Recipe())
    run.failed_steps = [{"step": "onnx", "problem": "it fails.", "command": "clearsight train --resume r"}]
    gone = Resolution(step=40, shown=20, cause="it happened", why="validation has improved since")
    write_findings(run.files.findings, [Finding(rule="Overfit", verdict=Verdict.CLEAR, resolved=gone)])
    lines = end_lines(run)
    assert "failed   onnx: it fails." in lines
    assert "repeat   clearsight train --resume r" in lines
    assert "resolved Overfit at step 40: validation has improved since" in lines
