"""LossInputMismatch: the loss gets inputs that it is not made for, or its value is changed before the backward."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.learning_rates import highest_usual_rate, optimizer_family, usual_rate
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.predictions import has_learned

_BINARY = ("bceloss", "bcewithlogitsloss")
_NEVER_NEGATIVE = ("crossentropyloss", "nllloss", *_BINARY)
_BELOW_ZERO = -1e-4  # rounding makes a loss slightly negative
_EQUAL = 1e-3  # relative difference up to which a factor is 1 / N
_LEAST_DIVISOR = 4  # a loss that is weighted by a half is no accident
_PER_CLASS = 20  # labels seen per class before outputs without any label count as too many
_TOO_WIDE = 2  # times as many outputs as labels: one rare class that did not come yet is no fault

_RAISED = 4  # times the usual rate, above which losses that are added up matter
_ORDINARY_UPDATE = 0.04  # of the weights in a step: 0.03 at most at a rate that suits, 0.07 at one that is too high
_SHRUNK = 0.2  # factor of the logits: distillation, which softens them on purpose, divides by about 4
_SMOOTHED = 0.5  # label smoothing above which the label says less than the rest
_UNEVEN = 1.5  # largest over smallest, of weights and of images, below which weights do not matter
_TOO_HEAVY = 10.0  # times: a rare disease may count several times as much on purpose
_OWN_SHARE = 0.4  # of the checked losses: one of another library may call a loss of torch, which is checked too
_PART = 5  # the first and the last fifth of the losses are compared
_DIVERGED = 3  # times the first loss, or 1 where that is less
_ALIKE = 0.8  # correlation of the logarithms of weights and images

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
    "swapped": (
        "the loss gets the labels first and the outputs of the model second",
        "Call it with the outputs first: loss(outputs, labels).",
    ),
    "one_output": (
        "cross entropy over a single output is always 0",
        "Use two outputs, or BCEWithLogitsLoss with labels as float.",
    ),
    "broadcast": (
        "outputs (N, 1) and labels (N,) are broadcast to (N, N): every output is compared with every label",
        "Give both the same shape: outputs.squeeze(1), or labels.unsqueeze(1).",
    ),
    "softmax_over_batch": (
        "the softmax is taken over the images of the batch, dim=0, and not over the classes",
        "Write dim=1.",
    ),
    "nll_on_logits": (
        "the negative log likelihood gets logits, where it expects log-probabilities",
        "Use CrossEntropyLoss, or end the model with LogSoftmax(dim=1).",
    ),
    "cross_entropy_on_probabilities": (
        "cross entropy gets the outputs of a softmax and applies the softmax again",
        "Remove the softmax at the end of the model, and give the loss the logits.",
    ),
    "cross_entropy_on_sigmoid": (
        "cross entropy gets the outputs of a sigmoid, which lie between 0 and 1, as logits",
        "Remove the sigmoid at the end of the model, and give the loss the logits.",
    ),
    "cross_entropy_on_relu": (
        "cross entropy gets the outputs of a ReLU, which cannot be negative, as logits",
        "Remove the ReLU behind the last layer.",
    ),
    "cross_entropy_on_clamp": (
        "cross entropy gets outputs that were cut off to a narrow range, as logits",
        "Give the loss the outputs themselves: outside of the range they get no gradient.",
    ),
    "softmax_of_one": (
        "a softmax over a single output is always 1",
        "Use BCEWithLogitsLoss on the output itself, or two outputs with CrossEntropyLoss.",
    ),
    "bce_on_relu": (
        "the loss applies a sigmoid to the output of a ReLU, which cannot be negative",
        "Remove the ReLU behind the last layer.",
    ),
    "bce_on_probabilities": (
        "the loss applies a sigmoid to outputs of a sigmoid",
        "Remove the sigmoid at the end of the model, or use BCELoss.",
    ),
    "kl_div_on_probabilities": (
        "kl_div gets probabilities, where it expects their logarithms",
        "Pass log_softmax(outputs, dim=1), or use CrossEntropyLoss.",
    ),
    "kl_div_on_logits": (
        "kl_div gets outputs that are no log-probabilities",
        "Pass log_softmax(outputs, dim=1), or use CrossEntropyLoss.",
    ),
    "margin_on_probabilities": (
        "a margin loss gets the outputs of a softmax, which are never a margin of 1 apart",
        "Remove the softmax, and give the loss the outputs themselves.",
    ),
    "distance_of_probabilities": (
        "probabilities are compared with labels by their distance, whose gradient vanishes where the network is sure "
        "and wrong",
        "Use CrossEntropyLoss, or BCEWithLogitsLoss for a single output, on the outputs without softmax or sigmoid.",
    ),
    "class_numbers": (
        "a single output is compared with the numbers of the classes as if they were quantities",
        "Use one output for each class, and CrossEntropyLoss.",
    ),
    "label_below_others": (
        "the labels give all classes of an image the same share but one, which gets less",
        "Check the smoothing of the labels: the class of the image gets 1 - s, and the others share s.",
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
    cannot be, a mean that is divided by the batch or the number of batches once more, a loss whose sign is turned,
    outputs for far more classes than the labels have, labels smoothed by half or more or until their class has the
    least share, class weights that grow with
    the number of images, a weight of positive labels that outweighs the negative ones, a divergence of probabilities
    instead of their logarithms, a squared error of probabilities, logits that are divided by a temperature or cut off
    to a narrow range, and labels in the place of the outputs and outputs in that of the labels; in a loss that torch
    does not define only where it diverges and the network learns nothing, since it may be made for this order. The
    first passes are checked, then one in 64. With Adam and its kin a divided loss changes hardly anything, so that it
    is an information there. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = (
        *("LossNotDecreasing", "NotLearning", "LearningRateTooLow", "UnderfitCapacity", "VanishingGradient"),
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
        fault = fault or self._order(view) or self._divided_outputs(view) or self._smoothed(view) or self._weights(view)
        fault = fault or self._positive_weight(view)
        return [fault or self.clear(value=0.0, threshold=self.share, unit="of the checked losses")]

    def _inputs(self, view: RunView) -> Finding | None:
        loop = view.context.loop
        for name, (cause, advice) in _FAULTS.items():
            count = min(loop.loss_faults.get(name, 0), loop.loss_checks)  # a pass may show it twice
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
        if context.update.maximize and factor >= 0:
            cause = "the optimizer was made with maximize=True: each step makes the loss larger"
            return self._finding(view, 1.0, cause, "Leave out maximize=True.")
        if factor < 0:
            cause = "the loss is maximised: its gradient is multiplied by a negative number before the backward"
            return self._finding(view, 1.0, cause, "Remove the minus sign in front of the loss.")
        if added := self._added(view):
            return added
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

    def _added(self, view: RunView) -> Finding | None:
        """Return a finding on losses that are added up instead of averaged, at a rate that is too high for that."""
        context, loop = view.context, view.context.loop
        if not loop.steps or loop.lost > self.share * loop.backwards:
            return None
        batches = max(1, round(loop.backwards / loop.steps))
        times = loop.loss_factor * batches
        rates = view.scalar("lr").values
        peak = float(np.nanmax(rates)) if np.isfinite(rates).any() else context.lr
        # An adaptive optimizer divides by the size of the gradient. A gradient scaler takes its factor out again.
        usual = min(highest_usual_rate(context.optimizer), _RAISED * usual_rate(context.optimizer))
        if optimizer_family(context.optimizer) != "gradient" or times < _LEAST_DIVISOR or peak * times <= usual:
            return None
        scaled = view.scalar("clip_ratio").values
        if loop.loss_factor > context.batch_size > 0 or (np.isfinite(scaled).any() and np.nanmedian(scaled) < 0.5):
            return None
        what = f"the losses of {batches} batches" if loop.loss_factor < _LEAST_DIVISOR else "the losses of a batch"
        cause = f"{what} are added up instead of averaged, so that a rate of {peak:.2g} acts like {peak * times:.2g}"
        advice = "Average the losses, over accumulated batches too, or divide the rate by their number."
        # The rate may have been chosen for the sum: then a step changes the weights as little as it does elsewhere.
        updates = view.scalar("update_ratio").values
        updates = updates[np.isfinite(updates)]
        is_chosen = len(updates) > 0 and float(np.median(updates)) < _ORDINARY_UPDATE
        return self._finding(view, times, cause, advice, Severity.INFO if is_chosen else Severity.WARNING)

    def _width(self, view: RunView) -> Finding | None:
        loop, labels = view.context.loop, view.predictions().labels
        # Labels that only validation has are no reason for fewer outputs.
        classes = max(loop.highest_label, int(view.predictions("eval").labels.max(initial=-1))) + 1
        # A binary loss over several outputs judges each of them by itself.
        binary = view.context.loss.lower() in _BINARY
        if binary or classes < 2 or loop.width < _TOO_WIDE * classes or len(labels) < _PER_CLASS * classes:
            return None
        cause = f"the model has {loop.width} outputs, but the {len(labels):,} training labels seen are of {classes}"
        return self._finding(
            view,
            loop.width / classes,
            f"{cause} classes",
            f"Replace the last layer by one with {classes} outputs, and pass its parameters to the optimizer.",
            Severity.WARNING,
        )

    def _order(self, view: RunView) -> Finding | None:
        """Return a finding on a loss of the author's that gets the labels first, and whose value diverges.

        It may be made for this order, as those of Keras are. So nothing is said while the network learns.
        """
        loop, values = view.context.loop, view.scalar("loss").values
        count = loop.loss_faults.get("own_swapped", 0)
        if count < max(self.checks, _OWN_SHARE * loop.loss_checks) or not len(view.predictions()) or has_learned(view):
            return None
        part = max(1, len(values) // _PART)
        broken = not np.isfinite(values).all()
        first, last = (float(np.median(values[place])) for place in (slice(None, part), slice(-part, None)))
        if not values.size or not (broken or abs(last) > _DIVERGED * max(1.0, abs(first))):
            return None
        cause = f"{view.context.loss or 'the loss'} gets the labels first and the outputs of the model second, and its "
        cause += "value is not finite" if broken else f"value went from {first:.3g} to {last:.3g}"
        advice = "Call it with the outputs first, unless it is made for this order."
        return self._finding(view, count / loop.loss_checks, f"{cause} while the network learns nothing", advice)

    def _divided_outputs(self, view: RunView) -> Finding | None:
        """Return a finding on logits that are made so small that the loss hardly depends on them."""
        factor = view.context.loop.output_factor
        if not 0 < factor < _SHRUNK:
            return None
        cause = f"the outputs of the model are multiplied by {factor:.2g} before the loss: probabilities stay near "
        cause += "those of a guess, and gradients are as small"
        advice = "Give the loss the outputs themselves; a temperature belongs behind the training."
        return self._finding(view, factor, cause, advice, Severity.WARNING)

    def _smoothed(self, view: RunView) -> Finding | None:
        """Return a finding on labels that are smoothed until they say hardly anything."""
        smoothing = view.context.loop.label_smoothing
        if smoothing < _SMOOTHED:
            return None
        cause = f"label smoothing of {smoothing:g} leaves the label {1 - smoothing:.0%}, and spreads the rest"
        advice = "Set label_smoothing to 0.1 or less."
        return self._finding(view, smoothing, f"{cause} over all classes", advice, Severity.WARNING)

    def _weights(self, view: RunView) -> Finding | None:
        """Return a finding on class weights that grow with the number of images."""
        weights = np.asarray(view.context.loop.class_weights)
        counts = np.bincount(view.predictions().labels, minlength=len(weights))
        if not len(weights) or len(counts) != len(weights) or counts.min() == 0 or weights.min() <= 0:
            return None
        if len(weights) < 2 or min(weights.max() / weights.min(), counts.max() / counts.min()) < _UNEVEN:
            return None
        if np.corrcoef(np.log(weights), np.log(counts))[0, 1] < _ALIKE:
            return None
        most, least = int(counts.argmax()), int(counts.argmin())
        cause = f"the class weights grow with the number of images: class {most} has {counts[most]} and the weight"
        cause += f" {weights[most]:.2g}, class {least} has {counts[least]} and {weights[least]:.2g}"
        advice = "Weight the classes by the inverse of their number of images."
        return self._finding(view, float(weights[most] / weights[least]), cause, advice, Severity.WARNING)

    def _positive_weight(self, view: RunView) -> Finding | None:
        """Return a finding on a weight of the label 1 that outweighs all images of the label 0."""
        weight, labels = view.context.loop.positive_weight, view.predictions().labels
        share = float((labels > 0).mean()) if len(labels) >= 2 * _PER_CLASS else 0.0
        # Both beside equal classes and beside what would balance those that there are.
        if not 0 < share < 1 or weight < _TOO_HEAVY or weight * share / (1 - share) < _TOO_HEAVY:
            return None
        cause = f"pos_weight is {weight:.3g}, but {share:.0%} of the labels that the loss gets are 1 already: "
        cause += f"together they weigh {weight * share / (1 - share):.3g} times as much as those of the label 0"
        advice = f"Set pos_weight to the number of labels 0 over that of the labels 1, {(1 - share) / share:.2g}."
        return self._finding(view, weight, cause, advice, Severity.WARNING)

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
