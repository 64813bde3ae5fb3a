"""Telling observers what happened, so that none of them can fail in silence or take a run down by accident."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from clearsight.core.events import EpochRecord, Observer, RunPlan, RunStatus, StepRecord
from clearsight.core.finding import Finding

log = logging.getLogger(__name__)


class ObserverList:
    """Passes each event to every observer in order. A vital observer's error stops the run; another one is left out
    from then on, and the log and `failures` say so."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self.failures: list[str] = []

    def plan(self, plan: RunPlan) -> None:
        """Announce what is about to be done."""
        self._tell(lambda observer: observer.on_plan(plan))

    def end(self, status: RunStatus, reason: str) -> None:
        """Announce how the run ended."""
        self._tell(lambda observer: observer.on_end(status, reason))

    def step(self, record: StepRecord) -> None:
        """Announce a finished optimizer step."""
        self._tell(lambda observer: observer.on_step(record))

    def epoch(self, record: EpochRecord) -> None:
        """Announce a finished epoch."""
        self._tell(lambda observer: observer.on_epoch(record))

    def finding(self, finding: Finding) -> None:
        """Announce what the debugger found."""
        self._tell(lambda observer: observer.on_finding(finding))

    def _tell(self, event: Callable[[Observer], None]) -> None:
        for observer in list(self._observers):
            try:
                event(observer)
            except Exception as error:
                if observer.vital:
                    raise
                self._observers.remove(observer)
                self.failures.append(f"{type(observer).__name__} failed and was left out: {error}")
                log.warning("%s", self.failures[-1])
