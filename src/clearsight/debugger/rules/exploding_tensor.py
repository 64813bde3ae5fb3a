"""ExplodingTensor: values that grow by orders of magnitude, until they are NaN or infinite."""

from __future__ import annotations

from collections.abc import Sequence

from clearsight.core.finding import Finding, Severity
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.divergence import FACTOR, Growth, NonFinite, first_nonfinite, growing_tensors
from clearsight.debugger.analysis.learning_rates import lower_rate_fix
from clearsight.debugger.analysis.tensors import ScopedRule

_POINTS = 6  # steps for an early level and a growth that lasts


class ExplodingTensor(ScopedRule):
    """Found when a gradient, weight or activation grew past `factor` times its early level and stayed there, or broke.

    The early level is a median of the first values, and at least what a healthy tensor may have: a head that starts at
    0 grows a thousandfold in its first epoch and is healthy; a single spike comes from one batch. Broken means NaN or
    infinite, also without any growth before, as in SageMaker's rule of this name. That rule knows nothing else, so it
    fires when the weights are lost already; here `steps` begin where the climb began. only_nan: growth and infinity do
    not count.
    """

    severity = Severity.SEVERE
    explains = (
        *("LossNotDecreasing", "NotLearning", "LossOscillating", "UnderfitCapacity", "Confusion"),
        *("DeadRelu", "AllZero", "SaturatedActivation", "UnchangedTensor", "VanishingGradient", "WeightUpdateRatio"),
        *("BatchNormDrift", "Overtraining", "Overfit"),
    )

    factor: float = setting(FACTOR, "growth over the early level that is found", above=1, unit="times")
    only_nan: bool = setting(False, "find NaN only")

    def needs(self) -> Needs:
        return Needs(points=_POINTS)

    def check(self, view: RunView) -> list[Finding]:
        def include(collection: str, name: str) -> bool:
            return collection in self.chosen_collections((collection,)) and self.matches(name, view.context)

        growths = [] if self.only_nan else growing_tensors(view, include, self.factor)
        if growths:
            return [self._growth(view, growths)]
        broken = first_nonfinite(view, include, only_nan=self.only_nan)
        if broken is not None:
            return [self._broken(view, broken)]
        if view.done() < _POINTS:
            return [self.not_enough_data(have=view.done())]
        return [self.clear(threshold=self.factor)]

    def _growth(self, view: RunView, growths: Sequence[Growth]) -> Finding:
        growth, others = growths[0], f", as did {len(growths) - 1} other tensors" if len(growths) > 1 else ""
        begin = min(other.steps[0] for other in growths)
        return self.found(
            value=growth.factor,
            threshold=self.factor,
            unit="times the early level",
            steps=(begin, growth.steps[1]),
            subject=growth.subject,
            cause=f"since step {begin}, {growth.subject} grew from {growth.early:.3g} to {growth.worst:.3g} "
            f"and stayed large{others}",
            fix={**lower_rate_fix(view), "clip_grad": 1.0},
            evidence=growth.series,
        )

    def _broken(self, view: RunView, broken: NonFinite) -> Finding:
        subject = broken.subject or broken.place
        kind = "NaN" if self.only_nan else "NaN or infinite"
        return self.found(
            value=1,
            threshold=0,
            unit="NaN or infinite values",
            steps=(broken.step, max(broken.step, view.done())),
            severity=Severity.WARNING if broken.recovered else Severity.SEVERE,
            subject=subject,
            cause=f"at step {broken.step} {subject} became {kind} without growing before",
            advice="Find the operation that made the first NaN or infinite value; it was not growth.",
            because=("EarlyNaN",),
        )
