"""`clearsight quickstart` does the whole main job, and can be repeated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clearsight.core.events import RunStatus
from clearsight.core.run import Run
from tests.walks.commands import run


@pytest.mark.slow
def test_the_whole_main_job(tmp_path: Path) -> None:
    output = run("quickstart", "--out", tmp_path / "q").stdout
    trained = Run.open(tmp_path / "q" / "runs" / "1")
    assert trained.status is RunStatus.COMPLETED
    assert trained.scores["test"]["accuracy"] >= 0.97
    assert "predicted 7" in output
    assert (trained.path / "report.html").stat().st_size < 8 << 20
    for command in re.findall(r"^  clearsight (\w+)", output, flags=re.MULTILINE):
        from clearsight.cli import COMMANDS

        assert command in COMMANDS
    second_output = run("quickstart", "--out", tmp_path / "q").stdout
    assert "runs/2" in second_output
    assert Run.open(tmp_path / "q" / "runs" / "2").scores == trained.scores, "the same seed gives the same scores"
