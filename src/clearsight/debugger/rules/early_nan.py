"""EarlyNaN: a value of the run became NaN or infinite."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.divergence import NonFinite, first_nonfinite, growing_tensors
from clearsight.debugger.analysis.learning_rates import lower_rate_fix
from clearsight.debugger.analysis.loss_curve import loss_curve, loss_progress

_LAST_LOSSES = 5  # losses before the break that show whether the loss was rising

_PLACE_WORDS = {
    "input": "the input of the model",
    "layer": "the output of {subject}",
    "weight": "{subject}",
    "loss": "the loss, while the model's outputs were finite",
    "gradient": "the gradient",
}
_ADVICE = {
    "input": "Check for images with NaN or infinite values, and for a division by a standard deviation of 0 in the "
    "preprocessing.",
    "layer": "Check {subject} for a division, a root or a logarithm that can get 0, or for an overflow.",
    "weight": "Check the file or the initialisation of the weights: it contains NaN or infinite values.",
    "loss": "Check the loss for a logarithm of 0 or a division by 0: pass logits to cross_entropy, or use log_softmax "
    "instead of log(softmax).",
    "gradient": "Check for a function with an infinite slope, such as the square root or a norm at 0, and add a small "
    "epsilon to its input.",
}


class EarlyNaN(Rule):
    """Found when a value became NaN or infinite; it names the step and the place: input, layer, loss or gradient.

    The loss shows it a step after it happened and never where, but the cure depends on where. A gradient that is
    infinite now and then while the losses stay finite belongs to the automatic scaling of half precision and is
    healthy. SageMaker has no such rule: its ExplodingTensor fires on the same value without saying where it came from.
    """

    severity = Severity.SEVERE
    explains = (
        *("LossNotDecreasing", "NotLearning", "LossOscillating", "UnderfitCapacity", "Confusion"),
        *("AllZero", "DeadRelu", "SaturatedActivation", "UnchangedTensor", "VanishingGradient", "WeightUpdateRatio"),
        *("BatchNormDrift", "Overtraining"),
    )

    growth: float = setting(3.0, "rise of the losses before the break that counts as divergence", above=1)

    def needs(self) -> Needs:
        return Needs(points=1)

    def check(self, view: RunView) -> list[Finding]:
        if not view.done():
            return [self.not_enough_data(have=0)]
        first = first_nonfinite(view)
        if first is None:
            return [self.clear()]
        growths = [growth for growth in growing_tensors(view) if growth.steps[0] <= first.step]
        rise = self._rise(view, first.step)
        curve = loss_curve(view)
        finding = self.found(
            value=1,
            threshold=0,
            unit="NaN or infinite values",
            steps=(first.step, max(first.step, view.done())),
            subject=first.subject or ("loss" if first.place == "loss" else first.place),
            severity=Severity.WARNING if first.recovered else Severity.SEVERE,
            cause=self._cause(first, rise, bool(growths)),
            **self._remedy(view, first, bool(growths) or rise >= self.growth),
            confidence=0.99 if first.exact else 0.95,  # a loss alone shows it a step late, and not where
            because=("ExplodingTensor",) if growths else (),
            evidence=Series.of("loss", curve.steps, curve.losses),
        )
        return [finding]

    def _rise(self, view: RunView, step: int) -> float:
        """Return the loss just before the break over that at the start, or over chance level where that is higher."""
        curve, progress = view.scalar("loss"), loss_progress(view)
        before = curve.values[(curve.steps <= step) & np.isfinite(curve.values)][-_LAST_LOSSES:]
        if not before.size or progress is None:
            return 0.0
        start = curve.values[0] if np.isfinite(curve.values[0]) else 0.0
        return float(before.max()) / max(start, progress.reference, 1e-9)

    def _cause(self, first: NonFinite, rise: float, growths: bool) -> str:
        place = _PLACE_WORDS[first.place].format(subject=first.subject or "a layer")
        location = place if first.exact or first.place != "loss" else "the loss"
        history = f", after the loss had risen to {rise:.3g} times its start" if rise >= self.growth else ""
        history = history or (", after its values had grown by orders of magnitude" if growths else "")
        recovery = "; the losses after it are finite again" if first.recovered else ""
        return f"at step {first.step} {location} became NaN or infinite{history}{recovery}"

    def _remedy(self, view: RunView, first: NonFinite, diverged: bool) -> dict[str, Any]:
        advice = _ADVICE[first.place].format(subject=first.subject or "the layer")
        smaller_steps = {**lower_rate_fix(view), "clip_grad": 1.0}
        if diverged and first.place != "input":
            return {"fix": smaller_steps}
        in_model = first.place in ("layer", "gradient")
        if view.context.settings.get("precision") == "fp16" and in_model:
            fp16_advice = "The largest fp16 number is 65,504; bf16 has the range of fp32."
            return {"fix": {"precision": "fp32"}, "advice": fp16_advice}
        # Before the first update no learning rate can have caused it. A loss alone may show it late.
        by_update = first.step > 1 and (in_model or (first.place == "loss" and not first.exact))
        return {"fix": smaller_steps if by_update else {}, "advice": advice}
