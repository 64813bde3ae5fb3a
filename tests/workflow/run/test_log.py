"""log.txt has the lines of the terminal; findings.live.jsonl has the findings of a running job."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.events import RunStatus
from clearsight.workflow.run.log import LogWriter


def test_lines_carry_the_time_and_are_appended(tmp_path: Path) -> None:
    for reason in ("stopped by SIGINT", ""):
        LogWriter(tmp_path / "log.txt").on_end(RunStatus.INTERRUPTED, reason)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["interrupted: stopped by SIGINT", "interrupted"]
    assert all(line.startswith("20") and "+00:00 " in line for line in lines)


def test_it_is_not_vital(tmp_path: Path) -> None:
    assert LogWriter(tmp_path / "log.txt").vital is False
