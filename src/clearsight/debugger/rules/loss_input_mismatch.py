"""LossInputMismatch: the loss gets inputs that it is not made for, or its value is changed before the backward."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.learning_rates import optimizer_family
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView

_NEVER_NEGATIVE = ("crossentropyloss", "nllloss", "bceloss", "bcewithlogitsloss")
_BELOW_ZERO = -1e-4  # rounding makes a loss slightly negative
_EQUAL = 1e-3  # relative difference up to which a factor is 1 / N
_LEAST_DIVISOR = 4  # a loss that is weighted by a half is no accident
_PER_CLASS = 20  # labels seen per class before outputs without any label count as too many
_TOO_WIDE = 2  # times as many outputs as labels: one rare class that did not come yet is no fault

# Fault of LoopInfo.loss_faults: what happens, and what to do. From the surest to the mildest.
_FAULTS = {
    "labels_outside": (
        "a label is no index of the model's outputs",
        "Number the classes from 0, and give the last layer one output per class.",
    ),
    "shapes": (
        "outputs and labels are not of the same number of images",
        "Check what flattens the outputs or the labels: both need the batch as their first dimension.",
    ),
    "one_output": (
        "cross entropy over a single output is always 0",
        "Use two outputs, or BCEWithLogitsLoss with labels as float.",
    ),
    "broadcast": (
        "outputs (N, 1) and labels (N,) are broadcast to (N, N): every output is compared with every label",
        "Give both the same shape: outputs.squeeze(1), or labels.unsqueeze(1).",
    ),
    "nll_on_logits": (
        "the negative log likelihood gets logits, where it expects log-probabilities",
        "Use CrossEntropyLoss, or end the model with LogSoftmax(dim=1).",
    ),
    "cross_entropy_on_probabilities": (
        "cross entropy gets the outputs of a softmax and applies the softmax again",
        "Remove the softmax at the end of the model, and give the loss the logits.",
    ),
    "bce_on_probabilities": (
        "the loss applies a sigmoid to outputs of a sigmoid",
        "Remove the sigmoid at the end of the model, or use BCELoss.",
    ),
    "targets_outside": (
        "the labels of a binary cross entropy are outside 0 to 1",
        "Use the labels 0 and 1, as float.",
    ),
}


class LossInputMismatch(Rule):
    """Found when a loss does not get what its documentation asks for.

    Seen in the calls of torch's loss functions, as modules or functions: raw logits in a negative log likelihood, a
    softmax or sigmoid applied twice, outputs (N, 1) beside labels (N,), labels outside the range, a loss below 0 that
    cannot be, a mean that is divided by the batch or the number of batches once more, a loss whose sign is turned, and
    outputs for far more classes than the labels have. The first passes are checked, then one in 64. With Adam and its
    kin a divided loss changes hardly anything, so that it is an information there. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = (
        *("LossNotDecreasing", "HeadNotLearning", "LearningRateTooLow", "UnderfitCapacity", "VanishingGradient"),
        *(
            "LossOnProbabilities",
            "Confusion",
            "UpdateMissing",
            "ExplodingTensor",
            "LearningRateTooHigh",
            "EarlyNaN",
        ),
        *("WeightUpdateRatio", "Overfit", "Overtraining", "LabelNoise", "SaturatedActivation", "DeadRelu"),
        *("AllZero", "UnchangedTensor", "StalledTraining", "LossOscillating"),
    )

    checks: int = setting(3, "checked losses that are needed", low=1)
    share: float = setting(0.5, "share of the checked losses that must show it", above=0, high=1)

    def needs(self) -> Needs:
        return Needs(points=self.checks)

    def check(self, view: RunView) -> list[Finding]:
        loop = view.context.loop
        # The loop ends at once where torch refuses the labels: one call is enough.
        refused = any(loop.loss_faults.get(name) for name in ("labels_outside", "shapes"))
        if loop.loss_checks < self.checks and not refused:
            return [self.not_enough_data(have=loop.loss_checks, of="checked losses of a watched loop")]
        fault = self._inputs(view) or self._negative(view) or self._factor(view) or self._width(view)
        return [fault or self.clear(value=0.0, threshold=self.share, unit="of the checked losses")]

    def _inputs(self, view: RunView) -> Finding | None:
        loop = view.context.loop
        for name, (cause, advice) in _FAULTS.items():
            count = loop.loss_faults.get(name, 0)
            refused = name in ("labels_outside", "shapes") and count
            if refused or count > self.share * loop.loss_checks:
                seen = "and torch refused the call" if refused else f"in {count} of {loop.loss_checks} checked losses"
                return self._finding(view, count / max(1, loop.loss_checks), f"{cause}, {seen}", advice)
        return None

    def _negative(self, view: RunView) -> Finding | None:
        values = view.scalar("loss").values
        below = values[np.isfinite(values)] < _BELOW_ZERO
        kind = view.context.loss.lower()
        if kind not in _NEVER_NEGATIVE or not below.size or below.mean() <= 0.1:
            return None
        cause = f"{view.context.loss} cannot be negative, and was below 0 in {below.mean():.0%} of the steps"
        return self._finding(view, float(below.mean()), cause, "Check the range of outputs and labels that it gets.")

    def _factor(self, view: RunView) -> Finding | None:
        factor, context = view.context.loop.loss_factor, view.context
        if factor < 0:
            cause = "the loss is maximised: its gradient is multiplied by a negative number before the backward"
            return self._finding(view, 1.0, cause, "Remove the minus sign in front of the loss.")
        # One backward per step: the loss of accumulated batches is divided on purpose.
        accumulated = context.loop.backwards > 1.5 * max(1, context.loop.steps)
        if not 0 < factor <= 1 / _LEAST_DIVISOR or accumulated:
            return None
        divisors = {"the batch size": context.batch_size, "the number of batches": context.loop.loader_batches}
        for word, divisor in divisors.items():
            if divisor and abs(factor * divisor - 1) < _EQUAL:
                cause = f"the loss, which is a mean over the batch already, is divided by {word} ({divisor}) once more"
                mild = optimizer_family(context.optimizer) == "adaptive"
                severity = Severity.INFO if mild else Severity.WARNING
                return self._finding(view, 1.0, cause, "Remove the division, or pass reduction='sum'.", severity)
        return None

    def _width(self, view: RunView) -> Finding | None:
        loop, labels = view.context.loop, view.predictions().labels
        classes = loop.highest_label + 1
        if classes < 2 or loop.width < _TOO_WIDE * classes or len(labels) < _PER_CLASS * classes:
            return None
        cause = f"the model has {loop.width} outputs, but the {len(labels):,} training labels seen are of {classes}"
        return self._finding(
            view,
            loop.width / classes,
            f"{cause} classes",
            f"Replace the last layer by one with {classes} outputs, and pass its parameters to the optimizer.",
            Severity.WARNING,
        )

    def _finding(
        self, view: RunView, value: float, cause: str, advice: str, severity: Severity = Severity.SEVERE
    ) -> Finding:
        loss = view.scalar("loss")
        return self.found(
            value=value,
            threshold=self.share,
            unit="of the checked losses",
            severity=severity,
            steps=(1, max(1, view.done())),
            subject=view.context.loss or "loss",
            cause=cause,
            advice=advice,
            confidence=0.97,
            evidence=Series.of("loss", loss.steps, loss.values),
        )
