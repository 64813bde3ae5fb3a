"""log.txt of a run: what the terminal said, with the time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from clearsight.core.events import EpochRecord, NullObserver, RunPlan, RunStatus
from clearsight.core.finding import Finding
from clearsight.workflow.messages import epoch_line, finding_lines, plan_lines


class LogWriter(NullObserver):
    """Appends to log.txt. A log that cannot be written is not worth a run."""

    vital = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_plan(self, plan: RunPlan) -> None:
        self._write(*plan_lines(plan))

    def on_epoch(self, record: EpochRecord) -> None:
        self._write(epoch_line(record))

    def on_finding(self, finding: Finding) -> None:
        self._write(*finding_lines(finding))

    def on_end(self, status: RunStatus, reason: str) -> None:
        self._write(f"{status.value}{f': {reason}' if reason else ''}")

    def _write(self, *lines: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._path.open("a", encoding="utf-8") as log:
            log.writelines(f"{now} {line}\n" for line in lines)
