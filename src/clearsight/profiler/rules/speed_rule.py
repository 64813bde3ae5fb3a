"""SpeedRule and SampleRule: bases of the rules about speed, over timed steps and over gauge samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from clearsight.core.finding import Finding, Severity
from clearsight.core.rule import Counted, Needs, Rule
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import MIN_STEPS
from clearsight.profiler.analysis.window import MIN_SAMPLES, Window

# Arguments of `found` where other processes are the reason: that is no fault of the run.
OTHER_WORK: dict[str, Any] = {
    "advice": "Stop other work on the machine, or train when there is none.",
    "severity": Severity.INFO,
}


class SpeedRule(Rule):
    """Base of the rules about speed. A subclass implements `verdict`, or `check` if it judges each device by itself.

    points: of `counted`, that must be there before a verdict.
    """

    topic = "speed"
    counted: ClassVar[Counted] = "timed_steps"
    points: ClassVar[int] = MIN_STEPS

    def needs(self) -> Needs:
        return Needs(counted=self.counted, points=self.points)

    def check(self, view: RunView) -> Iterator[Finding]:
        yield self.verdict(view)

    def verdict(self, view: RunView) -> Finding:
        """Return the only finding on a run."""
        raise NotImplementedError


class SampleRule(SpeedRule):
    """Base of the rules over gauge samples that declare `patience`, the samples before the first verdict."""

    if TYPE_CHECKING:
        # Each subclass declares it among its own parameters: SageMaker's report lists them in this order.
        patience: int | None

    def needs(self) -> Needs:
        return Needs(counted="samples", points=self.patience or MIN_SAMPLES)

    def too_few_samples(self, *windows: Window, cause: str = "") -> Finding:
        """Return the verdict that not even the window with most samples has enough of them."""
        most = max(windows, key=lambda samples: samples.available, default=None)
        have, want = (most.available, most.required) if most else (0, self.needs().points)
        return self.not_enough_data(have=have, want=want, cause=cause)
