"""A run that an error ends is shown like one that has finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearsight.cli.commands import train as command
from clearsight.core.errors import DiskFull
from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.run.context import LaunchContext


def failing(path: Path, launch: LaunchContext) -> None:
    """Begin a run, and end it with an error as training does."""
    run = Run.begin(path, Recipe())
    run.files.report.write_text("page")
    run.finish(RunStatus.FAILED, StopReason(StopKind.FAILURE, "the disk is full"))
    for observer in launch.observers:
        observer.on_end(run.status, run.reason)
    raise DiskFull("checkpoints", "no space left")


def test_a_failed_run_prints_its_report_before_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(data: str, *, out: Path, launch: LaunchContext, **settings: Any) -> None:
        failing(out, launch)

    monkeypatch.setattr("clearsight.workflow.train.train", train)
    with pytest.raises(DiskFull):
        command.train("photos", tmp_path / "r", settings={})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("failed (the disk is full)")
    assert lines[1] == f"report   {tmp_path / 'r' / 'report.html'}"


def test_an_error_before_a_run_has_begun_prints_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.begin(tmp_path / "r", Recipe()).finish(RunStatus.COMPLETED)

    def train(data: str, *, out: Path, **settings: Any) -> None:
        Run.check_free(out)

    monkeypatch.setattr("clearsight.workflow.train.train", train)
    with pytest.raises(Exception, match="there already"):
        command.train("photos", tmp_path / "r", settings={})
    assert capsys.readouterr().out == ""
