"""Loss curve of training: level, trend and noise of the loss, how far it has come, and validation beside it.

S steps whose loss is finite, R evaluations of which both losses are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.finding import Series
from clearsight.core.view import Curve, Floats64, Ints, RunView

_TREND = 3  # steps that a trend needs
_LEARNED = 0.5  # of the loss at chance level
_MAX_WAIT = 5000  # steps that a verdict waits for at most: a fifth of a very long plan would come too late to help
_MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean, for normal noise: sqrt(pi / 2)
_MAD_TO_STD = 1.4826  # standard deviation over median absolute deviation, for normal noise
_ENDS = 5  # values at either end of the loss that are combined: one lucky batch decides nothing
_LOW = 0.25  # of the chance-level loss: below it small gradients and small updates are success, not a fault
_TOLERANCE = 0.02  # of the chance-level loss: a validation loss this close to the lowest one is no worse


@dataclass(frozen=True, slots=True)
class Trend:
    """Medians of the first and of the last third of a series, and the standard error of their difference."""

    early: float
    late: float
    error: float

    @property
    def drop(self) -> float:
        """Fall from early to late; negative for a rise."""
        return self.early - self.late

    @property
    def largest_drop(self) -> float:
        """Upper 99.5 % bound of the drop, one-sided: rules are asked many times during a run."""
        return self.drop + 2.576 * self.error


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Training loss, one value per step. steps: (S,) int64; losses, rates: (S,) float64, rates NaN where not known."""

    steps: Ints
    losses: Floats64
    rates: Floats64
    chance: float  # loss of a model at chance level, log C, or the first loss where the classes are not known
    floor: float  # the least loss that the labels allow
    planned: int  # steps of the whole run, 0 where not known
    nonfinite: int = 0  # steps whose loss is NaN or infinite, which are left out

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def first(self) -> float:
        """Loss before the first update; the median of three values where the first step is not known."""
        return float(self.losses[0] if self.steps[0] == 1 else np.median(self.losses[:3]))

    @property
    def base(self) -> float:
        """Loss that no run which learns has to exceed: that of chance level, or of the weights it began with."""
        return max(self.first, self.chance)

    @property
    def has_rates(self) -> bool:
        """Return True if the learning rate of any step is known."""
        return bool(np.isfinite(self.rates).any())

    @property
    def peak_lr(self) -> float:
        """Largest learning rate so far; NaN where not known."""
        return float(np.nanmax(self.rates)) if self.has_rates else math.nan

    def share_of_chance(self, loss: float) -> float:
        """Return the position of a loss between the least possible one (0) and chance level (1)."""
        return (loss - self.floor) / max(self.chance - self.floor, 1e-12)

    @property
    def has_learned(self) -> bool:
        """Return True if less than half of the loss at chance level is left at the end: what is odd does no harm."""
        return len(self) >= _TREND and self.share_of_chance(trend(self.losses).late) < _LEARNED

    def needed_steps(self, least: int, share: float) -> int:
        """Return the steps that a verdict needs: `least`, or a share of the plan if more; twice `least` without one."""
        return max(least, min(_MAX_WAIT, math.ceil(share * self.planned))) if self.planned else 2 * least

    def after_warm_up(self) -> LossCurve:
        """Return the part from half the highest rate on; nothing while the rate still rises."""
        if not self.has_rates:
            return self
        rates = np.nan_to_num(self.rates)
        before = rates[max(0, len(rates) - 4)] if len(rates) > 1 else rates[0]
        # 0.1 % over three steps: less is rounding at the flat top of a cosine, not a warm-up.
        if rates[-1] >= rates.max() and rates[-1] > 1.001 * before:
            return self.part(np.zeros(len(self), bool))
        return self.part(np.arange(len(self)) >= int(np.argmax(rates >= 0.5 * rates.max())))

    def at_rate(self, share: float) -> LossCurve:
        """Return the part whose learning rate is at least a share of its peak; all of it where no rate is known."""
        return self.part(np.nan_to_num(self.rates) >= share * self.peak_lr) if self.has_rates else self

    def last(self, steps: int) -> LossCurve:
        """Return the last so many steps."""
        return self.part(np.arange(len(self)) >= len(self) - steps)

    def part(self, mask: npt.NDArray[np.bool_]) -> LossCurve:
        """Return the steps where `mask` (S,) is True."""
        return replace(self, steps=self.steps[mask], losses=self.losses[mask], rates=self.rates[mask])

    def span(self) -> tuple[int, int]:
        """Return the first and the last step."""
        return int(self.steps[0]), int(self.steps[-1])


def loss_curve(view: RunView) -> LossCurve:
    """Return the training loss of a run so far."""
    loss, context = view.scalar("loss"), view.context
    finite = np.isfinite(loss.values)
    steps, losses = loss.steps[finite], loss.values[finite]
    count = max(len(context.classes), len(context.class_counts))
    chance = math.log(count) if count > 1 else float(np.median(losses[:3])) if len(losses) else math.nan
    rates = value_at(view.scalar("lr"), steps)
    return LossCurve(steps, losses, rates, chance, least_loss(context, count), context.steps, int((~finite).sum()))


def least_loss(context: RunContext, classes: int) -> float:
    """Return the loss of a model that is right and sure everywhere: 0, or the entropy of smoothed labels.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.
    """
    smoothing = float(context.settings.get("label_smoothing") or 0.0)
    if smoothing <= 0 or classes < 2:
        return 0.0
    other = smoothing / classes
    true = 1 - smoothing + other
    return -true * math.log(true) - (classes - 1) * other * math.log(other)


@dataclass(frozen=True, slots=True)
class LossProgress:
    """Progress of the training loss."""

    start: float  # median of its first values
    recent: float  # median of its last values
    chance: float  # loss of a model at chance level, log C; NaN where the classes are not known

    @property
    def reference(self) -> float:
        """Loss of a model that has learned nothing: at chance level, or at the start where that is not known."""
        return self.chance if math.isfinite(self.chance) else self.start

    @property
    def low(self) -> bool:
        """Return True for a loss so low that gradients near zero are no fault."""
        return self.recent < _LOW * self.reference


def loss_progress(view: RunView) -> LossProgress | None:
    """Return how far the loss has come; None where no finite loss was saved."""
    loss = view.scalar("loss").values
    loss = loss[np.isfinite(loss)]
    if not loss.size:
        return None
    ends = max(_ENDS, loss.size // 20)
    classes = len(view.context.classes)
    chance = math.log(classes) if classes > 1 else math.nan
    return LossProgress(float(np.median(loss[:_ENDS])), float(np.median(loss[-ends:])), chance)


@dataclass(frozen=True, slots=True)
class TrainValidCurves:
    """Losses and accuracies of training and validation, all (R,); accuracies NaN where not known."""

    steps: Ints  # training steps done
    epochs: Ints
    train: Floats64
    valid: Floats64
    train_accuracy: Floats64
    valid_accuracy: Floats64
    chance: float  # loss of a model at chance level, 1 where it is not known

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def jitter(self) -> float:
        """Standard deviation of the validation loss from one evaluation to the next, its trend taken out."""
        return noise_std(self.valid)

    def smoothed(self) -> Floats64:
        """Return the validation loss (R,), each value the median of itself and its neighbours."""
        return _smoothed(self.valid)

    def plateau_start(self) -> int:
        """Return the index of the evaluation after which the validation loss got no better, beyond a tolerance."""
        smooth = self.smoothed()
        return int(np.argmax(smooth <= smooth.min() + max(_TOLERANCE * self.chance, self.jitter / 2)))

    def accuracy_plateau_start(self) -> int:
        """Return the index of the evaluation after which the accuracy got no better either; 0 where it is not known."""
        if not np.isfinite(self.valid_accuracy).all():
            return 0
        smooth = _smoothed(self.valid_accuracy)
        return int(np.argmax(smooth >= smooth.max() - max(_TOLERANCE, noise_std(self.valid_accuracy) / 2)))

    def evidence(self) -> tuple[Series, Series]:
        """Return the training loss and the validation loss as evidence of a finding."""
        return Series.of("training loss", self.steps, self.train), Series.of("validation loss", self.steps, self.valid)


def _smoothed(values: Floats64) -> Floats64:
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1) if len(values) else values


def train_valid_curves(view: RunView) -> TrainValidCurves:
    """Return training beside validation. The training loss of an evaluation is the mean since the one before."""
    table, curve = view.evaluations(), loss_curve(view)
    known = np.isfinite(table.train_loss) & np.isfinite(table.valid_loss)
    return TrainValidCurves(
        table.steps[known],
        table.epochs[known],
        table.train_loss[known],
        table.valid_loss[known],
        table.train_accuracy[known],
        table.valid_accuracy[known],
        curve.chance if math.isfinite(curve.chance) else 1.0,
    )


def value_at(curve: Curve, steps: Ints) -> Floats64:
    """Return a curve's latest value at each of `steps` (S,), NaN before its first."""
    if not len(curve):
        return np.full(len(steps), math.nan)
    places = np.searchsorted(curve.steps, steps, side="right") - 1
    return np.where(places >= 0, curve.values[np.maximum(places, 0)], math.nan)


def trend(values: Floats64) -> Trend:
    """Return the trend of at least three values, robust against single batches."""
    third = max(1, len(values) // 3)
    early, late = float(np.median(values[:third])), float(np.median(values[-third:]))
    residuals = np.concatenate([values[:third] - early, values[-third:] - late])
    # Two estimates of the noise, each of them vague for few values: the larger one keeps false alarms rare.
    spread = max(noise_std(values), float(_MAD_TO_STD * np.median(np.abs(residuals))))
    return Trend(early, late, _MEDIAN_ERROR * spread * math.sqrt(2 / third))


def noise_std(values: Floats64) -> float:
    """Return the standard deviation of a series around its own trend; 0 for fewer than three values."""
    differences = np.diff(values)  # of neighbours, so that a trend and single outliers do not count
    return float(_MAD_TO_STD * np.median(np.abs(differences)) / math.sqrt(2)) if len(differences) > 1 else 0.0


def rolling(values: Floats64, width: int, every: int = 1) -> Floats64:
    """Return the medians of `width` values in a row, starting at each `every`-th; none where there are fewer values."""
    if len(values) < width:
        return np.empty(0)
    return np.median(np.lib.stride_tricks.sliding_window_view(values, width)[::every], axis=1)
