"""LossOscillating: the loss swings up and down far beyond the chance of batches, and the swings do not shrink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, RunView
from clearsight.debugger.analysis.learning_rates import lowered_rate
from clearsight.debugger.analysis.loss_curve import loss_curve

_LEAST_IMAGES = 4  # of a batch: below, its own spread says nothing
_ALMOST_NEVER = 1e-30  # a probability that float32 still holds
_BENDS = 2  # degree of the course: a loss that falls is bent
_SPREAD = 1.4826
_MOST = 5000  # steps that are looked at
_SHRINKING = 0.7  # swings of the second half over those of the first
_WITHOUT_ANSWERS = 3.0  # as large must swings be where the chance of batches is not known


@dataclass(frozen=True, slots=True)
class _Swings:
    """Spread of the loss around its line; expected: that which drawing batches alone explains, NaN if not known."""

    spread: float
    expected: float
    first: float
    second: float
    drop: float


class LossOscillating(Rule):
    """Found when the loss of batches swings by more than `amplitude` of that of guessing around its own course, more
    than `beyond` times what drawing batches explains, no less at the end than before, and gains nothing by it.

    How far a batch's loss lies from the mean by chance follows from the spread of its own images' losses, divided by
    the root of their number: small batches are allowed more. Where the images' answers were not saved, three times
    the amplitude is asked for. SageMaker has no such rule; LossNotDecreasing fires there on every noisy run instead.
    """

    explains = ("LossNotDecreasing",)

    amplitude: float = setting(0.15, "standard deviation of the swings", above=0, unit="of the loss of guessing")
    beyond: float = setting(2.5, "the same over what the draw of batches explains", above=1)
    window: int = setting(40, "steps that are looked at, at the least", low=20, unit="steps")

    def needs(self) -> Needs:
        return Needs(points=self.window)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen = loss_curve(view)
        warm = seen.warm() if len(seen) else seen
        want = seen.wanted(self.window, 0.2)
        if len(warm) < want:
            yield self.not_enough_data(have=len(warm), want=want)
            return
        recent = warm.last(min(max(want, len(warm) // 2), _MOST))
        steps, losses, errors = _by_answers(view, recent.steps)
        if len(steps) < self.window:
            steps, losses, errors = recent.steps, recent.losses, np.full(len(recent), np.nan)
        swings = _measured(losses, errors)
        blind = not np.isfinite(swings.expected)
        border = self.amplitude * (_WITHOUT_ANSWERS if blind else 1.0)
        size = swings.spread / seen.chance
        if not self._oscillates(swings, size, border):
            yield self.clear(value=size, threshold=border, unit="of the loss of guessing")
            return
        chance = "" if blind else f", where the draw of batches explains {swings.expected:.2g}"
        yield self.found(
            value=size,
            threshold=border,
            unit="of the loss of guessing",
            steps=(int(steps[0]), int(steps[-1])),
            subject="loss",
            cause=(
                f"over the last {len(steps)} steps the loss swings by {swings.spread:.2g} around its course{chance}, "
                f"and the swings do not shrink"
            ),
            fix={"lr": lowered_rate(seen.peak)} if seen.known else {},
            advice="" if seen.known else "Lower the learning rate to a third, or use larger batches.",
            confidence=0.6 if blind else 0.8,
            evidence=Series.of("loss", seen.steps, seen.losses),
        )

    def _oscillates(self, swings: _Swings, size: float, border: float) -> bool:
        by_chance = swings.spread <= self.beyond * swings.expected  # False where that is not known
        return bool(
            size > border
            and not by_chance
            and swings.second > _SHRINKING * swings.first
            and swings.drop < swings.spread
        )


def _by_answers(view: RunView, wanted: Ints) -> tuple[Ints, Floats64, Floats64]:
    """Per step with saved answers: the mean loss of its images and the standard error of that mean, all (S,).

    The error is from the spread of all images together, since the few of one batch say little of it.
    """
    table = view.outcomes()
    chosen = np.isin(table.steps, wanted) & np.isfinite(table.true_probability)
    steps, inverse = np.unique(table.steps[chosen], return_inverse=True)
    if not len(steps):
        return steps, np.empty(0), np.empty(0)
    costs = -np.log(np.maximum(table.true_probability[chosen], _ALMOST_NEVER))
    images = np.bincount(inverse)
    means = np.bincount(inverse, weights=costs) / images
    within = float(((costs - means[inverse]) ** 2).sum() / max(len(costs) - len(steps), 1))
    enough = np.median(images) >= _LEAST_IMAGES
    return steps, means, np.sqrt(within / images) if enough else np.full(len(steps), np.nan)


def _measured(losses: Floats64, errors: Floats64) -> _Swings:
    places = np.arange(len(losses), dtype=float)
    line = np.polyval(np.polyfit(places, losses, _BENDS), places)
    off, half = losses - line, len(losses) // 2
    expected = float(np.sqrt(np.mean(errors**2)))
    return _Swings(_spread(off), expected, _spread(off[:half]), _spread(off[half:]), float(line[0] - line[-1]))


def _spread(values: Floats64) -> float:
    return float(_SPREAD * np.median(np.abs(values - np.median(values))))
