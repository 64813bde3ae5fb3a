"""VanishingGradient: the gradient does not reach the first layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, RunView, StatisticTable
from clearsight.debugger.analysis.loss_curve import loss_curve, loss_progress
from clearsight.debugger.analysis.tensors import columns, fan_in, finite_median, rms, trailing, trained_weights

_LEAST_LAYERS = 4  # hidden layers: fewer are not deep enough for it
_LEAST_SIGMOID, _SIGMOID_RATIO = 2, 0.05  # the same between sigmoids, and the ratio of the gradients there
_RISE = 3.0  # over its own first half: such a gradient is growing, as behind a head that starts at 0


class VanishingGradient(Rule):
    """Found when the first layers' gradient stays under `ratio` of that of the last layers, or under `threshold`.

    The rule compares root mean squares per parameter of the weights of layers: the first quarter of the trained hidden
    layers, and the last quarter or the head, whichever has more. What leaves the head backwards has the size of its
    weights, so its gradient counts by their size over that of an ordinary initialisation: a head that starts near 0
    holds back the gradient of all other layers for some steps, which is healthy. Each of the last `patience` saved
    steps must show it, without a rise among them, while the loss is still high. Where sigmoids are the only activations
    and nothing normalises, two hidden layers and a twentieth are enough while less than half of the loss of a guess is
    gone: the slope of a sigmoid is at most a quarter (Glorot and Bengio 2010, "Understanding the difficulty of training
    deep feedforward neural networks", section 3.1).

    SageMaker's rule of this name fires when the mean |gradient| of any one tensor is under 1e-7: that is every bias in
    front of a batch norm, whose gradient is 0 by construction, and every run that has converged.
    """

    explains = (
        *("LossNotDecreasing", "NotLearning", "LearningRateTooLow", "UnchangedTensor", "UnderfitCapacity"),
        *("WeightUpdateRatio", "Confusion"),
    )

    ratio: float = setting(1e-4, "gradient of the first layers over that of the last layers", above=0, below=1)
    threshold: float = setting(1e-7, "mean |gradient| of the first layers", low=0)
    patience: int = setting(5, "saved steps in a row", low=2)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.patience, collections=("gradients",))

    def check(self, view: RunView) -> list[Finding]:
        names = [f"gradient/{weight.name}" for weight in trained_weights(view.context) if not weight.head]
        sigmoid = _is_sigmoid(view.context)
        least, limit = (_LEAST_SIGMOID, _SIGMOID_RATIO) if sigmoid else (_LEAST_LAYERS, self.ratio)
        if view.context.parameters and len(names) < least:
            return [self.clear(cause=f"{len(names)} hidden layers are trained, too few for a gradient to vanish")]
        sizes, means = rms(view, "gradients"), view.statistic("abs_mean", "gradients")
        names = [name for name in names if name in sizes.names]
        progress = loss_progress(view)
        if len(sizes) < self.patience or len(names) < least or progress is None:
            have = min(len(sizes), self.patience - 1)
            return [self.not_enough_data(have=have, of="saved gradients of hidden layers")]
        end = max(1, len(names) // 4)
        first, hidden = (finite_median(columns(sizes, part), axis=1) for part in (names[:end], names[-end:]))
        # A layer scale makes the gradients of all hidden layers small at first, the last ones as well as the first
        # (Touvron et al. 2021, "Going deeper with image transformers", section 2; ConvNeXt): the head is no measure.
        scaled = _has_layer_scale(view.context)
        head = np.full(len(sizes), np.nan) if scaled else _head_gradient(view, sizes)
        last = np.fmax(hidden, head)  # fmax ignores NaN: the head may have no saved weights
        mean_gradient = finite_median(columns(means, names[:end]), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(last > 0, first / last, np.nan)
        # A last layer without any gradient belongs to AllZero.
        low = (last > 0) & ((ratio < limit) | ((mean_gradient < self.threshold) & (not scaled)))
        low_steps = trailing(low)
        value = float(finite_median(ratio[-self.patience :]))
        rising = _rising(ratio[-low_steps:]) or _rising(mean_gradient[-low_steps:])
        learned = sigmoid and loss_curve(view).has_learned
        if low_steps < self.patience or progress.low or rising or learned:
            return [self.clear(value=None if np.isnan(value) else value, threshold=limit)]
        steps, ratio, mean_gradient = sizes.steps[-low_steps:], ratio[-low_steps:], mean_gradient[-low_steps:]
        middle_ratio, level = float(finite_median(ratio)), float(finite_median(mean_gradient))
        relative = middle_ratio < limit
        size = f"{middle_ratio:.2g} times that of the last layers" if relative else f"{level:.2g} per weight on average"
        known = np.isfinite(ratio)
        finding = self.found(
            value=middle_ratio if relative else level,
            threshold=limit if relative else self.threshold,
            steps=(steps[0], steps[-1]),
            subject=names[0],
            cause=f"since step {steps[0]} the gradient of the first layers is {size}: they "
            + ("hardly learn, behind sigmoids without normalisation" if sigmoid else "do not learn"),
            fix={"weights": "default"} if view.context.settings.get("weights") == "none" else {},
            advice="Use a network with normalisation and shortcuts, such as a ResNet, and ReLU or GELU instead of "
            "sigmoid or tanh.",
            evidence=Series.of("gradient of the first layers over the last", steps[known], ratio[known]),
        )
        return [finding]


def _has_layer_scale(context: RunContext) -> bool:
    """Return True if blocks multiply their outputs by a vector: `gamma` of timm, `layer_scale` elsewhere."""
    names = [parameter.name.rpartition(".")[2] for parameter in context.parameters if parameter.kind != "norm"]
    return any(name.startswith(("gamma", "layer_scale", "lambda_")) for name in names)


def _is_sigmoid(context: RunContext) -> bool:
    """Return True if sigmoids are the only activations between the layers, two at least, and nothing normalises."""
    kinds = [layer.kind for layer in context.layers]
    return kinds.count("sigmoid") >= _LEAST_SIGMOID and not {"norm", "relu", "tanh", "activation"} & set(kinds)


def _head_gradient(view: RunView, sizes: StatisticTable) -> Floats64:
    """Return the head's gradient, (S,), NaN if not known, times its weights' size over an ordinary one (at most 1)."""
    heads = [parameter for parameter in trained_weights(view.context) if parameter.head]
    if not heads:
        return np.full(len(sizes), np.nan)
    weights = rms(view, "weights")
    level = columns(weights, [heads[-1].name])[:, 0]
    common = np.isin(weights.steps, sizes.steps)
    gain = np.full(len(sizes), np.nan)
    gain[np.isin(sizes.steps, weights.steps)] = np.minimum(1.0, level[common] * fan_in(heads[-1]) ** 0.5)
    return np.asarray(columns(sizes, [f"gradient/{heads[-1].name}"])[:, 0] * gain)


def _rising(values: Any) -> bool:
    """Return True if a series grows much from its first to its second half."""
    half = len(values) // 2
    early, late = finite_median(values[:half]), finite_median(values[half:])
    return bool(late > _RISE * early)
