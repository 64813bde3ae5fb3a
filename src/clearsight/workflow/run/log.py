"""Files that follow a run while it goes on: log.txt for people, findings.live.jsonl for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from clearsight.core.events import EpochRecord, NullObserver, RunPlan, RunStatus
from clearsight.core.files import finite_json
from clearsight.core.finding import Finding
from clearsight.workflow.messages import epoch_line, finding_lines, plan_lines


class LogWriter(NullObserver):
    """Appends to log.txt. Not vital: a run goes on without its log."""

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
        now = datetime.now(UTC).isoformat(timespec="seconds")  # UTC: logs of several machines can be compared
        with self._path.open("a", encoding="utf-8") as log:
            log.writelines(f"{now} {line}\n" for line in lines)


class FindingsLog(NullObserver):
    """Appends each finding of a running job to findings.live.jsonl, one JSON object a line."""

    vital = False  # findings.jsonl holds them again at the end

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_finding(self, finding: Finding) -> None:
        # One write of one line: a reader sees the whole line or leaves the rest for its next call.
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite_json(finding.to_json())) + "\n")
