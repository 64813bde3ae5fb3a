"""ExplodingTensor: numbers that grow by orders of magnitude, until they are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clearsight.core.finding import Finding, Severity
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.divergence import FACTOR, Growth, NonFinite, first_nonfinite, growing_tensors
from clearsight.debugger.analysis.loss_curve import lower_rate_fix
from clearsight.debugger.analysis.scope import ScopedRule

_POINTS = 6  # an early level and a growth that lasts


class ExplodingTensor(ScopedRule):
    """Found when a gradient, weight or activation grew past `factor` times its early level and stayed there, or broke.

    The early level is a median of the first values, and at least what a healthy tensor may have: a head that starts at
    0 grows a thousandfold in its first epoch and is well; one spike is a batch. What counts as broken is NaN and
    infinity, also without any growth before, as in SageMaker's rule of this name. That one knows nothing else, so it
    speaks when the weights are lost already; here `steps` begin where the climb began. only_nan: growth and infinity
    do not count.
    """

    severity = Severity.SEVERE
    explains = (
        *("LossNotDecreasing", "HeadNotLearning", "LossOscillating", "UnderfitCapacity", "Confusion"),
        *("DeadRelu", "AllZero", "SaturatedActivation", "UnchangedTensor", "VanishingGradient", "WeightUpdateRatio"),
        *("BatchNormDrift", "Overtraining", "Overfit"),
    )

    factor: float = setting(FACTOR, "growth over the early level", above=1, unit="times")
    only_nan: bool = setting(False, "look for NaN alone")

    def needs(self) -> Needs:
        return Needs(points=_POINTS)

    def check(self, view: RunView) -> Iterator[Finding]:
        def keep(collection: str, name: str) -> bool:
            return collection in self.within((collection,)) and self.wants(name, view.facts)

        growths = [] if self.only_nan else growing_tensors(view, keep, self.factor)
        if growths:
            yield self._growth(view, growths)
            return
        broken = first_nonfinite(view, keep, only_nan=self.only_nan)
        if broken is not None:
            yield self._broken(view, broken)
        elif view.done() < _POINTS:
            yield self.not_enough_data(have=view.done())
        else:
            yield self.clear(threshold=self.factor)

    def _growth(self, view: RunView, growths: Sequence[Growth]) -> Finding:
        growth, others = growths[0], f", as did {len(growths) - 1} more" if len(growths) > 1 else ""
        begin = min(each.steps[0] for each in growths)
        return self.found(
            value=growth.factor,
            threshold=self.factor,
            unit="times the early level",
            steps=(begin, growth.steps[1]),
            subject=growth.subject,
            cause=f"from step {begin} on {growth.subject} grew from {growth.early:.3g} to {growth.worst:.3g} "
            f"and stayed large{others}",
            fix={**lower_rate_fix(view), "clip_grad": 1.0},
            evidence=growth.series,
        )

    def _broken(self, view: RunView, broken: NonFinite) -> Finding:
        subject = broken.subject or broken.where
        kind = "NaN" if self.only_nan else "NaN or infinite"
        return self.found(
            value=1,
            threshold=0,
            unit="values that are no number",
            steps=(broken.step, max(broken.step, view.done())),
            severity=Severity.WARNING if broken.passed else Severity.SEVERE,
            subject=subject,
            cause=f"at step {broken.step} {subject} became {kind} without having grown before",
            advice="Find out where the first value that is no number was born; growth did not make it.",
            because=("EarlyNaN",),
        )
