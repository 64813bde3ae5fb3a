"""Course: how the training loss went, and what its numbers mean. S steps whose loss is finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.view import Curve, Floats64, Ints, RunView

_MEDIAN = 1.2533  # standard error of a median over that of a mean, normal noise
_PATIENCE = 5000  # steps that a verdict waits for at the most, however long the plan
_SPREAD = 1.4826  # standard deviation over median absolute deviation, normal noise


@dataclass(frozen=True, slots=True)
class Trend:
    """The first and the last third of a stretch, as medians, and the standard error of their difference."""

    before: float
    now: float
    error: float

    @property
    def drop(self) -> float:
        """How much it fell; negative where it rose."""
        return self.before - self.now

    @property
    def most(self) -> float:
        """Upper 99.5 % bound of the drop, one-sided: rules look many times during a run."""
        return self.drop + 2.576 * self.error


@dataclass(frozen=True, slots=True)
class LossCurve:
    """The training loss, one value per step. steps: (S,) int64; losses, rates: (S,) float64, rates NaN if not known.

    chance: the loss of guessing evenly, log C, or the first loss where the classes are not known.  floor: the least
    loss that the labels allow.  planned: steps of the whole run, 0 where not known.  lost: steps without a finite loss.
    """

    steps: Ints
    losses: Floats64
    rates: Floats64
    chance: float
    floor: float
    planned: int
    lost: int = 0

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def first(self) -> float:
        """The loss before the first update; the median of three where the first step is not known."""
        return float(self.losses[0] if self.steps[0] == 1 else np.median(self.losses[:3]))

    @property
    def base(self) -> float:
        """What no training run has to exceed: the loss of guessing, or that of the weights it began with."""
        return max(self.first, self.chance)

    @property
    def known(self) -> bool:
        """Whether the learning rate is."""
        return bool(np.isfinite(self.rates).any())

    @property
    def peak(self) -> float:
        """The largest learning rate so far; NaN where not known."""
        return float(np.nanmax(self.rates)) if self.known else math.nan

    def height(self, level: float) -> float:
        """Where a loss lies between the least possible one (0) and guessing (1)."""
        return (level - self.floor) / max(self.chance - self.floor, 1e-12)

    def wanted(self, least: int, share: float) -> int:
        """Steps after the warm-up that a verdict needs: `least`, or a share of the plan (at most 5000 steps of it);
        twice `least` without a plan."""
        return max(least, min(_PATIENCE, math.ceil(share * self.planned))) if self.planned else 2 * least

    def warm(self) -> LossCurve:
        """The part after the warm-up: from half the highest rate on, empty while the rate still rises."""
        if not self.known:
            return self
        rates = np.nan_to_num(self.rates)
        early = rates[max(0, len(rates) - 4)] if len(rates) > 1 else rates[0]
        if rates[-1] >= rates.max() and rates[-1] > 1.001 * early:
            return self.part(np.zeros(len(self), bool))
        return self.part(np.arange(len(self)) >= int(np.argmax(rates >= 0.5 * rates.max())))

    def powered(self, share: float) -> LossCurve:
        """The part with a learning rate of at least a share of its peak; all of it where the rate is not known."""
        return self.part(np.nan_to_num(self.rates) >= share * self.peak) if self.known else self

    def last(self, steps: int) -> LossCurve:
        """The last so many steps."""
        return self.part(np.arange(len(self)) >= len(self) - steps)

    def part(self, chosen: npt.NDArray[np.bool_]) -> LossCurve:
        """Some of the steps; chosen: (S,)."""
        rest = (self.chance, self.floor, self.planned, self.lost)
        return LossCurve(self.steps[chosen], self.losses[chosen], self.rates[chosen], *rest)

    def span(self) -> tuple[int, int]:
        """First and last step."""
        return int(self.steps[0]), int(self.steps[-1])


def loss_curve(view: RunView) -> LossCurve:
    """The course of a run's training loss so far."""
    loss, facts = view.scalar("loss"), view.facts
    fine = np.isfinite(loss.values)
    steps, losses = loss.steps[fine], loss.values[fine]
    count = max(len(facts.classes), len(facts.class_counts))
    chance = math.log(count) if count > 1 else float(np.median(losses[:3])) if len(losses) else math.nan
    rates = value_at(view.scalar("lr"), steps)
    return LossCurve(steps, losses, rates, chance, least_loss(facts, count), facts.steps, int((~fine).sum()))


def least_loss(facts: RunContext, classes: int) -> float:
    """The loss of a model that knows everything: 0, or the entropy of smoothed labels.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.
    """
    smoothing = float(facts.settings.get("label_smoothing") or 0.0)
    if smoothing <= 0 or classes < 2:
        return 0.0
    other = smoothing / classes
    right = 1 - smoothing + other
    return -right * math.log(right) - (classes - 1) * other * math.log(other)


def value_at(curve: Curve, steps: Ints) -> Floats64:
    """A curve's latest value at each of `steps` (S,), NaN before its first."""
    if not len(curve):
        return np.full(len(steps), math.nan)
    places = np.searchsorted(curve.steps, steps, side="right") - 1
    return np.where(places >= 0, curve.values[np.maximum(places, 0)], math.nan)


def noise_std(values: Floats64) -> float:
    """Standard deviation of a series around its course, from the differences of neighbours, so that a trend and
    single outliers do not count; 0 for fewer than three values."""
    steps = np.diff(values)
    return float(_SPREAD * np.median(np.abs(steps)) / math.sqrt(2)) if len(steps) > 1 else 0.0


def trend(values: Floats64) -> Trend:
    """How a stretch of at least three values went, robust against single batches."""
    third = max(1, len(values) // 3)
    before, now = float(np.median(values[:third])), float(np.median(values[-third:]))
    off = np.concatenate([values[:third] - before, values[-third:] - now])
    spread = max(noise_std(values), float(_SPREAD * np.median(np.abs(off))))  # the larger: each is vague for few values
    return Trend(before, now, _MEDIAN * spread * math.sqrt(2 / third))


def rolling(values: Floats64, width: int, every: int = 1) -> Floats64:
    """Medians of `width` values in a row, from each `every`-th on; S - width + 1 of them where it is 1, and none where
    there are fewer values."""
    if len(values) < width:
        return np.empty(0)
    return np.median(np.lib.stride_tricks.sliding_window_view(values, width)[::every], axis=1)


_ENDS = 5  # values at either end of the loss that are taken together: one lucky batch decides nothing
_LOW = 0.25  # of the loss of guessing: from here on small gradients and small updates are success
_AWAKE = 0.1  # of the peak learning rate: below it little happens and little is meant to


@dataclass(frozen=True, slots=True)
class LossProgress:
    """start, recent: median training loss of the first and of the last values. chance: the loss of guessing among
    the classes, log C; NaN where they are not known."""

    start: float
    recent: float
    chance: float

    @property
    def reference(self) -> float:
        """The loss of knowing nothing: that of guessing, or of the start where the classes are not known."""
        return self.chance if math.isfinite(self.chance) else self.start

    @property
    def low(self) -> bool:
        """Whether the loss has come down so far that gradients near nothing are as it should be."""
        return self.recent < _LOW * self.reference


def loss_progress(view: RunView) -> LossProgress | None:
    """How far the loss has come; None where no finite loss was saved."""
    loss = view.scalar("loss").values
    loss = loss[np.isfinite(loss)]
    if not loss.size:
        return None
    ends = max(_ENDS, loss.size // 20)
    classes = len(view.facts.classes)
    chance = math.log(classes) if classes > 1 else math.nan
    return LossProgress(float(np.median(loss[:_ENDS])), float(np.median(loss[-ends:])), chance)


def peak_learning_rate(view: RunView) -> float:
    """The highest learning rate so far, or the planned one where none was saved; 0 where neither is known."""
    rates = view.scalar("lr").values
    rates = rates[np.isfinite(rates)]
    return float(rates.max()) if rates.size and rates.max() > 0 else float(view.facts.lr)


def above_low_rate(view: RunView, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of the saved `steps` (S,) ran at a tenth of the peak learning rate at least; all where none was saved.

    Warm-up and the end of a cosine leave weights where they are, as they should.
    """
    curve = view.scalar("lr")
    if not len(curve):
        return np.ones(len(steps), bool)
    at = np.clip(np.searchsorted(curve.steps, steps, side="right") - 1, 0, len(curve) - 1)
    rates, peak = curve.values[at], peak_learning_rate(view)
    return np.isfinite(rates) & (rates > 0) & (rates >= _AWAKE * peak)


def lower_rate_fix(view: RunView, factor: float = 10.0) -> dict[str, Any]:
    """The fix of a learning rate divided by `factor`, to two digits; {} where the rate is not known."""
    peak = float(view.facts.lr) or peak_learning_rate(view)
    return {"lr": float(f"{peak / factor:.1e}")} if peak > 0 else {}
