"""EarlyNaN: a number of the run became no number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.divergence import NonFinite, first_nonfinite, growing_tensors
from clearsight.debugger.analysis.loss_curve import loss_progress, lower_rate_fix

_LAST = 5  # losses before the break that tell whether it was on its way up

_PLACES = {
    "input": "the input of the model",
    "layer": "the output of {subject}",
    "weight": "{subject}",
    "loss": "the loss, while the model's outputs were finite",
    "gradient": "the gradient",
}
_ADVICE = {
    "input": "Look for images with NaN or infinite values and for a division by a standard deviation of 0 in the "
    "preprocessing.",
    "layer": "Look at {subject}: a division, a root or a logarithm that can meet 0, or an overflow.",
    "weight": "Look at where the weights come from: the file or the initialisation holds values that are no numbers.",
    "loss": "Look for a logarithm of 0 or a division by 0 in the loss: give cross_entropy the logits, or use "
    "log_softmax instead of log(softmax).",
    "gradient": "Look for a function with an infinite slope, such as the square root or a norm at 0, and add a small "
    "epsilon to what it takes.",
}


class EarlyNaN(Rule):
    """Found when a value became NaN or infinite, and says at which step and where: input, layer, loss or gradient.

    The loss shows it a step later than it happens and never where; what to change depends on where. A gradient that is
    infinite now and then while the losses stay finite is how automatic scaling of half precision works, and is well.
    SageMaker has no such rule: its ExplodingTensor fires on the same value without saying where it was born.
    """

    severity = Severity.SEVERE
    explains = (
        *("LossNotDecreasing", "HeadNotLearning", "LossOscillating", "UnderfitCapacity", "Confusion"),
        *("AllZero", "DeadRelu", "SaturatedActivation", "UnchangedTensor", "VanishingGradient", "WeightUpdateRatio"),
        *("BatchNormDrift", "Overtraining"),
    )

    growth: float = setting(3.0, "losses that rose by this factor before the break say that it diverged", above=1)

    def needs(self) -> Needs:
        return Needs(points=1)

    def check(self, view: RunView) -> Iterator[Finding]:
        if not view.done():
            yield self.not_enough_data(have=0)
            return
        first = first_nonfinite(view)
        if first is None:
            yield self.clear()
            return
        exploded = [growth for growth in growing_tensors(view) if growth.steps[0] <= first.step]
        rise = self._rise(view, first.step)
        loss = view.scalar("loss")
        numbers = np.isfinite(loss.values)
        yield self.found(
            value=1,
            threshold=0,
            unit="values that are no number",
            steps=(first.step, max(first.step, view.done())),
            subject=first.subject or ("loss" if first.where == "loss" else first.where),
            severity=Severity.WARNING if first.passed else Severity.SEVERE,
            cause=self._cause(first, rise, bool(exploded)),
            **self._way_out(view, first, bool(exploded) or rise >= self.growth),
            confidence=0.99 if first.exact else 0.95,
            because=("ExplodingTensor",) if exploded else (),
            evidence=Series.of("loss", loss.steps[numbers], loss.values[numbers]),
        )

    def _rise(self, view: RunView, step: int) -> float:
        """The loss just before the break over that of the start, or of guessing where that is higher."""
        curve, state = view.scalar("loss"), loss_progress(view)
        before = curve.values[(curve.steps <= step) & np.isfinite(curve.values)][-_LAST:]
        if not before.size or state is None:
            return 0.0
        return float(before.max()) / max(
            curve.values[0] if np.isfinite(curve.values[0]) else 0.0, state.reference, 1e-9
        )

    def _cause(self, first: NonFinite, rise: float, exploded: bool) -> str:
        place = _PLACES[first.where].format(subject=first.subject or "a layer")
        where = place if first.exact or first.where != "loss" else "the loss"
        grew = f", after the loss had risen to {rise:.3g} times that of the start" if rise >= self.growth else ""
        grew = grew or (", after its numbers had grown by orders of magnitude" if exploded else "")
        went_on = "; the losses after it are finite again" if first.passed else ""
        return f"at step {first.step} {where} became NaN or infinite{grew}{went_on}"

    def _way_out(self, view: RunView, first: NonFinite, diverged: bool) -> dict[str, Any]:
        advice = _ADVICE[first.where].format(subject=first.subject or "the layer")
        if first.where == "input":
            return {"advice": advice}
        if view.facts.settings.get("precision") == "fp16" and first.where in ("layer", "gradient") and not diverged:
            return {"fix": {"precision": "fp32"}, "advice": "Half precision ends at 65,504; bf16 does not."}
        if diverged:
            return {"fix": {**lower_rate_fix(view), "clip_grad": 1.0}}
        seen_only_late = not first.exact and first.where in ("loss", "gradient")
        if first.where in ("layer", "gradient") or seen_only_late:
            return {"fix": {**lower_rate_fix(view), "clip_grad": 1.0} if first.step > 1 else {}, "advice": advice}
        return {"advice": advice}
