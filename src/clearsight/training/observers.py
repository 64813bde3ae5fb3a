"""ObserverList: passes every event of a run to each observer, so that none of them fails in silence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from clearsight.core.events import EpochRecord, Observer, RunPlan, RunStatus, StepRecord
from clearsight.core.finding import Finding
from clearsight.core.guard import Guard

log = logging.getLogger(__name__)


class ObserverList:
    """Observer that passes each event to all observers in order.

    The error of a vital observer stops the run. Another observer is off after its first error, which is logged and
    added to `failures`. The list is an observer itself, so that several lists can share these guards.
    """

    vital = True  # as a member of another list it guards its observers itself

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._guarded = [(observer, Guard(type(observer).__name__, report=self._report)) for observer in observers]
        self.failures: list[str] = []

    def on_plan(self, plan: RunPlan) -> None:
        """Announce what the run is about to do."""
        self._notify(lambda observer: observer.on_plan(plan))

    def on_step(self, record: StepRecord) -> None:
        """Announce a finished optimizer step."""
        self._notify(lambda observer: observer.on_step(record))

    def on_epoch(self, record: EpochRecord) -> None:
        """Announce a finished epoch."""
        self._notify(lambda observer: observer.on_epoch(record))

    def on_finding(self, finding: Finding) -> None:
        """Announce a finding of the debugger."""
        self._notify(lambda observer: observer.on_finding(finding))

    def on_end(self, status: RunStatus, reason: str) -> None:
        """Announce how the run ended."""
        self._notify(lambda observer: observer.on_end(status, reason))

    def _notify(self, event: Callable[[Observer], None]) -> None:
        for observer, guard in self._guarded:
            if observer.vital:
                event(observer)  # without a guard: its error must reach the run
            else:
                guard.run(event, observer)

    def _report(self, sentence: str) -> None:
        self.failures.append(sentence)
        log.warning("%s", sentence)
