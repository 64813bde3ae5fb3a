"""PoorWeightInitialization: initial weights that no training starts well from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clearsight.core.context import ParameterInfo
from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView, StatisticTable
from clearsight.debugger.analysis.loss_curve import loss_progress
from clearsight.debugger.analysis.predictions import select_rows
from clearsight.debugger.analysis.tensors import (
    columns,
    finite_median,
    he_std,
    is_trained,
    layer_weights,
    trained_weights,
)

_MOST_LAYERS = 0.5  # of the hidden layers must start constant: single ones may, behind a shortcut
_HIGH_LOSS = 3.0  # times the chance-level loss: no sound start has that much
_WIDE_LOGITS = 20.0  # between the largest and the smallest logit: the softmax gives 0 or 1 before anything was learned
_LARGE_GAIN = 3.0  # times the size by fan-in, where the loss shows the harm too
_ONE_SIDED = 1.0  # mean over standard deviation; 1.7 of numbers from 0 to 1, and 0.1 of usual starts
_SILENT = 0.7  # of the norms: the last one of each branch is a third of them, or a half
_EQUAL = 1e-5  # of the mean: range up to which a constant differs from its mean by rounding
_TINY_GAIN = 1e-3  # times the size by fan-in
_RANDOM = 0.9  # share of the layers that looked random
_FROZEN_LAYERS = 3  # hidden layers from which on random ones are no embedding or projection on purpose
_DEEP = 12  # hidden layers
_FEWEST_IMAGES = 200  # of the training, before which no run has learned anything
_LEARNED = 0.8  # accuracy on training images that leaves nothing to say
_NORMAL_INPUT = 10.0  # largest mean and spread of a normalised input: beyond it, the images are the cause


@dataclass(frozen=True, slots=True)
class _Start:
    """Weights of the hidden layers at the first saved step, and the loss that they led to."""

    step: int
    hidden: Sequence[ParameterInfo]
    gains: np.ndarray  # (L,) standard deviation over that of He et al.; NaN where it is 0
    constant: np.ndarray  # (L,) True where all elements are equal
    offsets: np.ndarray  # (L,) size of the mean over the standard deviation; NaN where that is 0
    silent_norms: tuple[int, int]  # norms whose scales are all 0, and all of them
    loss: float  # first loss over the chance-level loss
    logit_range: float  # largest logit minus the smallest; NaN where not saved


class PoorWeightInitialization(Rule):
    """Found when, in half of the hidden layers, the first saved weights are all equal, far too large, or near zero.

    Equal: every unit of a layer then learns the same. Large: at the median of the layers the standard deviation is more
    than `threshold` times that of He et al. 2015, or 3 times and the first loss is 3 times the chance-level loss with
    logits 20 apart. Near zero: under a thousandth of it. Pretrained weights have other sizes without harm: of those,
    only such a first loss with such logits counts. Tensors that healthy networks start at 0, the head or the last layer
    of a branch beside a shortcut, are left out.

    Found too where most weights lie on one side of 0, where most norms multiply by 0, and where weights are random
    that cannot be meant so: layers that are frozen, those of a run that is said to be pretrained, and those of a deep
    network that sees fewer than `images` images in the whole run and has not learned its training images at its end.
    Weights are random if their largest singular value is that of independent numbers.

    SageMaker's rule of this name compares the variances of layers with each other (`threshold`), which differ by their
    fan-in alone by more than its 10 in any ResNet, and looks for gradients that lie within 0.001, as those of any
    network with a million weights do.
    """

    severity = Severity.SEVERE
    explains = (
        *("AllZero", "DeadRelu", "VanishingGradient", "ExplodingTensor", "EarlyNaN", "LossNotDecreasing"),
        *("NotLearning", "UnchangedTensor", "WeightUpdateRatio", "LearningRateTooLow", "LearningRateTooHigh"),
        *("UnderfitCapacity", "LossOscillating", "SaturatedActivation", "Confusion", "BatchNormDrift"),
    )
    unused = ("activation_inputs_regex", "distribution_range", "patience")

    threshold: float = setting(10.0, "largest size of the weights over that by their fan-in", above=1)
    steps: int = setting(10, "first steps in which weights must have been saved", low=1)
    images: int = setting(2000, "training images from which on a deep network can learn from random weights", low=0)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=1, collections=("weights",))

    def check(self, view: RunView) -> list[Finding]:
        start = self._start(view)
        lost = self._lost(view)
        if start is None and lost:
            return [lost]
        if start is None:
            return [self.not_enough_data(have=0, of=f"saved weights of hidden layers in the first {self.steps} steps")]
        gain = float(finite_median(start.gains)) if len(start.hidden) else math.nan
        clear = self.clear(value=None if math.isnan(gain) else gain, threshold=self.threshold)
        return [
            self._constant(view, start)
            or self._one_sided(view, start)
            or self._size(view, start, gain)
            or lost
            or clear
        ]

    def _start(self, view: RunView) -> _Start | None:
        tables = [view.statistic(name, "weights") for name in ("std", "mean", "min", "max", "zero_fraction")]
        progress, loss = loss_progress(view), view.scalar("loss")
        trained = trained_weights(view.context)
        hidden = [weight for weight in trained if not weight.head and weight.name in tables[0].names]
        if not len(tables[0]) or tables[0].steps[0] > self.steps or not view.context.parameters:
            return None
        std, mean, low, high, zeros = (columns(table, [weight.name for weight in hidden])[0] for table in tables)
        ranges = [value[1] - value[0] for at, value in view.raw("output_range") if at.step <= self.steps]
        return _Start(
            step=int(tables[0].steps[0]),
            hidden=hidden,
            gains=np.where(std > 0, std, np.nan) / np.array([he_std(weight) for weight in hidden]),
            # A mean of exactly 0 counts only with all elements 0: missing statistics read as 0 too.
            constant=(high - low <= _EQUAL * np.abs(mean)) & ((mean != 0) | (zeros >= 1)),
            offsets=np.abs(mean) / np.where(std > 0, std, np.nan),
            silent_norms=_silent_norms(view, tables[-1]),
            loss=float(loss.values[0]) / progress.chance if progress and np.isfinite(loss.values[0]) else math.nan,
            logit_range=float(ranges[0]) if ranges else math.nan,
        )

    def _lost(self, view: RunView) -> Finding | None:
        """Return a finding on random weights in the place of pretrained ones."""
        context = view.context
        if context.random_start is None or context.random_start < _RANDOM:
            return None
        hidden = [weight for weight in layer_weights(context) if not weight.head]
        # Those that take gradients and that the optimizer lacks were not meant to be frozen.
        frozen = [weight for weight in hidden if not is_trained(weight, context) and not weight.trainable]
        severity, confidence = Severity.SEVERE, 0.9
        if len(hidden) >= _FROZEN_LAYERS and len(frozen) > _MOST_LAYERS * len(hidden):
            reason = f"{len(frozen)} of {len(hidden)} hidden layers are frozen"
        elif context.pretrained:
            reason = "the run is said to be pretrained"
        elif view.ended and len(hidden) >= _DEEP and (words := self._too_short(view)):
            reason, severity, confidence = words, Severity.WARNING, 0.6
        else:
            return None
        return self.found(
            value=context.random_start,
            threshold=_RANDOM,
            unit="of the layers",
            steps=(1, max(1, view.done())),
            subject="pretrained weights",
            severity=severity,
            cause=f"the hidden layers began as random numbers, and {reason}",
            fix=_pretrained_fix(view),
            advice="Load pretrained weights before the training, and nothing that initialises them again. "
            "load_state_dict(strict=False) returns the keys that it did not find: check them for a prefix.",
            confidence=confidence,
        )

    def _too_short(self, view: RunView) -> str:
        """Return why the run cannot train a deep network from random weights; "" where it may."""
        table = view.predictions()
        late = select_rows(table, np.arange(len(table)) >= 2 * len(table) // 3)
        if not _FEWEST_IMAGES <= len(table) < self.images or not len(late):
            return ""
        accuracy = float((late.labels == late.predictions).mean())
        if accuracy > _LEARNED:
            return ""
        return f"{len(table):,} images in all were too few to learn from: {accuracy:.0%} of the latest are right"

    def _constant(self, view: RunView, start: _Start) -> Finding | None:
        share = float(start.constant.mean()) if len(start.hidden) else 0.0
        if share < _MOST_LAYERS:
            return None
        first = start.hidden[int(np.argmax(start.constant))]
        return self.found(
            value=share,
            threshold=_MOST_LAYERS,
            unit="of the hidden layers",
            steps=(start.step, max(start.step, view.done())),
            subject=first.name,
            cause=f"at step {start.step} all weights of {first.name} are equal, as in {start.constant.sum()} of "
            f"{len(start.hidden)} hidden layers: their units will all learn the same",
            fix=_pretrained_fix(view),
            advice="Initialise convolutions and linear layers at random, with torch.nn.init.kaiming_normal_.",
            confidence=0.97,
            evidence=_std_series(view, first.name),
        )

    def _one_sided(self, view: RunView, start: _Start) -> Finding | None:
        """Return a finding on weights of one sign, or norms that multiply by 0, in most of the layers."""
        silent, norms = start.silent_norms
        offset = float(finite_median(start.offsets)) if len(start.hidden) else 0.0
        if norms >= _FROZEN_LAYERS and silent > _SILENT * norms:
            value, threshold, subject = silent / norms, _SILENT, "norms"
            cause = f"at step {start.step} the scales of {silent} of {norms} normalisation layers are all 0: what they "
            cause += "return is the same for every image"
            advice = "Initialise the scales (weight) of BatchNorm, LayerNorm and GroupNorm with 1; only the last one "
            advice += "of a residual branch may start at 0."
        elif offset > _ONE_SIDED and view.context.pretrained is not True:
            value, threshold, subject = offset, _ONE_SIDED, start.hidden[int(np.nanargmax(start.offsets))].name
            cause = (
                f"at step {start.step} the weights of hidden layers lie on one side of 0: their mean is {offset:.2g} "
            )
            cause += "times their standard deviation, so that every unit gets nearly the same sum"
            advice = "Draw weights around 0, with torch.nn.init.kaiming_normal_: uniform_ alone draws from 0 to 1."
        else:
            return None
        return self.found(
            value=value,
            threshold=threshold,
            steps=(start.step, max(start.step, view.done())),
            subject=subject,
            cause=cause,
            fix=_pretrained_fix(view),
            advice=advice,
            confidence=0.95,
        )

    def _size(self, view: RunView, start: _Start, gain: float) -> Finding | None:
        untrained = view.context.pretrained is not True
        # Wild logits can also come from inputs that were not normalised: then the weights are not the cause.
        normalised = all(np.abs(value[:, :2]).max() <= _NORMAL_INPUT for _, value in view.raw("input_channels")[:1])
        harmed = start.loss > _HIGH_LOSS and start.logit_range > _WIDE_LOGITS and normalised
        large = gain > (_LARGE_GAIN if harmed else self.threshold) if untrained else harmed and gain > self.threshold
        tiny = untrained and gain < _TINY_GAIN and not start.constant.all()
        if not (large or tiny):
            return None
        worst = int(np.nanargmax(start.gains) if large else np.nanargmin(start.gains))
        loss_words = f"; the first loss is {start.loss:.3g} times the chance-level loss" if harmed else ""
        return self.found(
            value=gain,
            threshold=(_LARGE_GAIN if harmed and untrained else self.threshold) if large else _TINY_GAIN,
            unit="times the standard deviation by fan-in",
            steps=(start.step, max(start.step, view.done())),
            subject=start.hidden[worst].name,
            severity=Severity.SEVERE if harmed else Severity.WARNING,
            cause=f"at step {start.step} the weights of hidden layers are {gain:.2g} times as large as their "
            f"fan-in requires{loss_words}",
            fix=_pretrained_fix(view),
            advice="Initialise convolutions and linear layers with torch.nn.init.kaiming_normal_.",
            confidence=0.95 if harmed else 0.85,
            evidence=_std_series(view, start.hidden[worst].name),
        )


def _silent_norms(view: RunView, zeros: StatisticTable) -> tuple[int, int]:
    """Return how many norms have scales that are all 0 at the first saved step, and how many there are."""
    names = [p.name for p in view.context.parameters if p.kind == "norm" and p.name.endswith("weight")]
    known = [name for name in names if name in zeros.names]
    return int((columns(zeros, known)[0] >= 1).sum()) if known else 0, len(known)


def _std_series(view: RunView, name: str) -> Series:
    table = view.statistic("std", "weights")
    values = columns(table, [name])[:, 0]
    known = np.isfinite(values)
    return Series.of(f"standard deviation of {name}", table.steps[known], values[known])


def _pretrained_fix(view: RunView) -> dict[str, str]:
    settings = view.context.settings
    return {"weights": "default"} if settings.get("weights") == "none" and settings.get("model") != "tiny" else {}
