"""JobProgress: what the events of a job say about it so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from clearsight_sagemaker.jobs.job_files import JobFiles

_END_STATUSES = {
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
}
_END_MESSAGES = {"Completed": "Training job completed", "Stopped": "Training job stopped"}
_MOST_REASON = 1024  # characters of a failure reason


@dataclass(kw_only=True)
class Transition:
    """A secondary status. start, end: seconds since 1970, None for the end of the one that lasts."""

    status: str
    start: float
    message: str
    end: float | None = None


@dataclass(frozen=True, kw_only=True)
class RuleStatus:
    """Status of a rule, with the time of its last change."""

    status: str
    details: str
    time: float


@dataclass(kw_only=True)
class JobProgress:
    """Folded events. offset: byte of the event file up to which they are in.  modified: time of the last event.

    status: InProgress, Stopping, Completed, Failed or Stopped.  metrics: the last value and its time, by name.
    end: secondary status and message of the end, until the job has finished.  exit_message: of a processing job.
    """

    status: str = "InProgress"
    transitions: list[Transition] = field(default_factory=list)
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    rules: dict[tuple[bool, str], RuleStatus] = field(default_factory=dict)
    model: str = ""
    reason: str = ""
    exit_message: str = ""
    exit_code: int | None = None
    modified: float = 0.0
    offset: int = 0
    end: tuple[str, str] = ("", "")

    @property
    def ended(self) -> bool:
        """True where nothing more happens, apart from the verdicts of rules."""
        return self.status in ("Completed", "Failed", "Stopped")

    @property
    def secondary(self) -> str:
        """Secondary status of now."""
        return self.transitions[-1].status if self.transitions else "Starting"

    @property
    def started(self) -> float | None:
        """Start of the download of data, where SageMaker begins to count; None before it."""
        return next((item.start for item in self.transitions if item.status == "Downloading"), None)

    @property
    def finished(self) -> float | None:
        """Time of the end; None before it."""
        return self.transitions[-1].start if self.ended else None

    def copied(self) -> JobProgress:
        """Return a copy that later events do not change."""
        transitions = [replace(transition) for transition in self.transitions]
        return replace(self, transitions=transitions, metrics=dict(self.metrics), rules=dict(self.rules))

    def update(self, folder: JobFiles) -> None:
        """Fold the events that have come since the last time."""
        for event, offset in folder.read_events(self.offset):
            self._fold(event)
            self.offset = offset

    def _fold(self, event: dict[str, Any]) -> None:
        kind, moment = event["kind"], float(event["time"])
        if kind == "rule":
            name = (bool(event.get("profiler")), str(event.get("configuration", "")))
            details = str(event.get("details") or "")
            self.rules[name] = RuleStatus(status=str(event.get("status", "Error")), details=details, time=moment)
        elif self.ended:
            return  # a process and the service may both report the end; the first counts
        elif kind == "status":
            self._fold_status(str(event.get("secondary", "")), str(event.get("message") or ""), moment)
        elif kind == "metric":
            value = event.get("value")
            if isinstance(value, int | float) and math.isfinite(value):
                self.metrics[str(event.get("name"))] = (float(value), moment)
        elif kind == "artifacts":
            self.model = str(event.get("model") or self.model)  # the output may come in an event of its own
        elif kind == "exit_message":
            self.exit_message = str(event.get("text") or "")[:_MOST_REASON]
        elif kind == "failed":
            self.reason = str(event.get("reason") or "")[:_MOST_REASON]
            self.exit_code = event.get("exit_code")
        elif kind == "finished":
            self._finish(str(event.get("status")), moment)
        self.modified = max(self.modified, moment)

    def _fold_status(self, secondary: str, message: str, moment: float) -> None:
        if secondary in _END_STATUSES:
            # Held back until "finished": a status that clients take for the end must not change any more.
            self.end = (secondary, message)
            return
        if secondary == "Stopping":
            self.status = "Stopping"
        if self.transitions and self.transitions[-1].status == secondary:
            if secondary != "Stopping":  # the first one says why; the process adds that it has seen it
                self.transitions[-1].message = message or self.transitions[-1].message
            return
        self._close_last(moment)
        self.transitions.append(Transition(status=secondary, start=moment, message=message))

    def _finish(self, status: str, moment: float) -> None:
        secondary, message = self.end if _END_STATUSES.get(self.end[0]) == status else ("", "")
        self.status = status if status in ("Completed", "Failed", "Stopped") else "Failed"
        default = self.reason if self.status == "Failed" else _END_MESSAGES[self.status]
        self._close_last(moment)
        last = Transition(status=secondary or self.status, start=moment, end=moment, message=message or default)
        self.transitions.append(last)

    def _close_last(self, moment: float) -> None:
        if self.transitions:
            self.transitions[-1].end = moment
