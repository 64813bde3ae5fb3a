"""PoorWeightInitialization: weights that no training starts well from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clearsight.core.context import ParameterInfo
from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.loss_curve import loss_progress
from clearsight.debugger.analysis.parameters import columns, finite_median, he_std, trained_weights

_HALF = 0.5  # of the hidden layers that must start constant: single ones may, behind a shortcut
_HIGH = 3.0  # times the loss of guessing: no fair start costs that much
_WIDE = 20.0  # between the largest and the smallest logit: the softmax answers 0 or 1 before anything was learned
_LARGE = 3.0  # times what the fan-in asks for, where the loss shows the harm too
_SAME = 1e-5  # of the mean: a constant is not the same to the last digit of its mean
_TINY = 1e-3  # times what the fan-in asks for
_SANE = 10.0  # of a normalised input's mean and spread: beyond it, the images are to blame and not the weights


@dataclass(frozen=True, slots=True)
class _Start:
    """The weights of the hidden layers at the first saved step, and what they led to."""

    step: int
    hidden: Sequence[ParameterInfo]
    gains: np.ndarray  # (L,) standard deviation over that of He et al.; NaN where there is none
    constant: np.ndarray  # (L,) whether all elements are the same
    loss: float  # first loss over that of guessing
    wide: float  # largest logit minus the smallest; NaN where not saved


class PoorWeightInitialization(Rule):
    """Found when the first saved weights are all the same in half of the hidden layers, far too large, or near nothing.

    Same: every unit of a layer then learns the same. Large: the standard deviation is more than `threshold` times that
    of He et al. 2015 at the median of the layers, or 3 times and the first loss is 3 times that of guessing with logits
    20 apart. Near nothing: under a thousandth of it. Weights that come from elsewhere have other sizes without harm:
    of those only a first loss and logits like that speak. What a healthy network starts at 0, its head or the last
    layer of a branch beside a shortcut, is left out.

    SageMaker's rule of this name compares the variances of layers with each other (`threshold`), which differ by their
    fan-in alone by more than its 10 in any ResNet, and looks for gradients that lie within 0.001, as those of any
    network with a million weights do.
    """

    severity = Severity.SEVERE
    explains = (
        *("AllZero", "DeadRelu", "VanishingGradient", "ExplodingTensor", "EarlyNaN", "LossNotDecreasing"),
        *("HeadNotLearning", "UnchangedTensor", "WeightUpdateRatio", "LearningRateTooLow", "LearningRateTooHigh"),
        *("UnderfitCapacity", "LossOscillating", "SaturatedActivation", "Confusion", "BatchNormDrift"),
    )
    unused = ("activation_inputs_regex", "distribution_range", "patience")

    threshold: float = setting(10.0, "times that the weights may be larger than their fan-in asks for", above=1)
    steps: int = setting(10, "steps from the start within which the first weights must have been saved", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=1, collections=("weights",))

    def check(self, view: RunView) -> Iterator[Finding]:
        start = self._start(view)
        if start is None:
            yield self.not_enough_data(have=0, of=f"saved weights of hidden layers in the first {self.steps} steps")
            return
        gain = float(finite_median(start.gains)) if len(start.hidden) else math.nan
        yield (
            self._constant(view, start)
            or self._size(view, start, gain)
            or self.clear(value=None if math.isnan(gain) else gain, threshold=self.threshold)
        )

    def _start(self, view: RunView) -> _Start | None:
        tables = [view.statistic(name, "weights") for name in ("std", "mean", "min", "max", "zero_fraction")]
        state, loss = loss_progress(view), view.scalar("loss")
        hidden = [p for p in trained_weights(view.facts) if not p.head and p.name in tables[0].names]
        if not len(tables[0]) or tables[0].steps[0] > self.steps or not view.facts.parameters:
            return None
        std, mean, low, high, zeros = (columns(table, [p.name for p in hidden])[0] for table in tables)
        wide = [value[1] - value[0] for at, value in view.raw("output_range") if at.step <= self.steps]
        known = loss.values.size and math.isfinite(loss.values[0]) and state is not None
        chance = state.chance if state is not None else math.nan
        return _Start(
            step=int(tables[0].steps[0]),
            hidden=hidden,
            gains=np.where(std > 0, std, np.nan) / np.array([he_std(p) for p in hidden]),
            constant=(high - low <= _SAME * np.abs(mean)) & ((mean != 0) | (zeros >= 1)),
            loss=float(loss.values[0]) / chance if known else math.nan,
            wide=float(wide[0]) if wide else math.nan,
        )

    def _constant(self, view: RunView, start: _Start) -> Finding | None:
        share = float(start.constant.mean()) if len(start.hidden) else 0.0
        if share < _HALF:
            return None
        first = start.hidden[int(np.argmax(start.constant))]
        return self.found(
            value=share,
            threshold=_HALF,
            unit="of the hidden layers",
            steps=(start.step, max(start.step, view.done())),
            subject=first.name,
            cause=f"at step {start.step} all weights of {first.name} are the same, as in {start.constant.sum()} of "
            f"{len(start.hidden)} hidden layers: their units cannot come to differ",
            fix=_ready_made(view),
            advice="Initialise convolutions and linear layers at random, by torch.nn.init.kaiming_normal_.",
            confidence=0.97,
            evidence=_spread(view, first.name),
        )

    def _size(self, view: RunView, start: _Start, gain: float) -> Finding | None:
        fresh = view.facts.pretrained is not True
        harmed = start.loss > _HIGH and start.wide > _WIDE and _sane_inputs(view)
        large = gain > (_LARGE if harmed else self.threshold) if fresh else harmed and gain > self.threshold
        tiny = fresh and gain < _TINY and not start.constant.all()
        if not (large or tiny):
            return None
        worst = int(np.nanargmax(start.gains) if large else np.nanargmin(start.gains))
        told = f"; the first loss is {start.loss:.3g} times that of guessing" if harmed else ""
        return self.found(
            value=gain,
            threshold=(_LARGE if harmed and fresh else self.threshold) if large else _TINY,
            unit="times the standard deviation that the fan-in asks for",
            steps=(start.step, max(start.step, view.done())),
            subject=start.hidden[worst].name,
            severity=Severity.SEVERE if harmed else Severity.WARNING,
            cause=f"at step {start.step} the weights of hidden layers are {gain:.2g} times as large as their fan-in "
            f"asks for{told}",
            fix=_ready_made(view),
            advice="Initialise convolutions and linear layers by torch.nn.init.kaiming_normal_.",
            confidence=0.95 if harmed else 0.85,
            evidence=_spread(view, start.hidden[worst].name),
        )


def _spread(view: RunView, name: str) -> Series:
    table = view.statistic("std", "weights")
    values = columns(table, [name])[:, 0]
    known = np.isfinite(values)
    return Series.of(f"standard deviation of {name}", table.steps[known], values[known])


def _sane_inputs(view: RunView) -> bool:
    channels = [value for at, value in view.raw("input_channels")][:1]
    return all(np.abs(value[:, :2]).max() <= _SANE for value in channels)


def _ready_made(view: RunView) -> dict[str, str]:
    settings = view.facts.settings
    return {"weights": "default"} if settings.get("weights") == "none" and settings.get("model") != "tiny" else {}
