"""LossOscillating: the loss swings up and down far more than drawing batches explains, and does not calm down."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, RunView
from clearsight.debugger.analysis.learning_rates import lowered_rate
from clearsight.debugger.analysis.loss_curve import loss_curve

_LEAST_IMAGES = 4  # of a batch: the spread of fewer says nothing
_ALMOST_NEVER = 1e-30  # smallest probability that counts: float32 still represents it
_DEGREE = 2  # of the polynomial for the trend: a falling loss is bent
_MAD_TO_STD = 1.4826  # standard deviation over median absolute deviation, for normal noise
_MAX_STEPS = 5000  # steps that are judged: keeps the time constant in long runs
_SHRINKING = 0.7  # ratio of the swings in the second and the first half, below which they shrink
_BLIND_FACTOR = 3.0  # times the amplitude, where the spread by chance is not known


class LossOscillating(Rule):
    """Found when the loss of batches swings widely around its trend, no less at the end than before, to no gain.

    Widely means a standard deviation above `amplitude` of the chance-level loss, and `beyond` times what drawing
    batches explains. How far a batch's loss lies from the mean by chance follows from the spread of its own images'
    losses, divided by the root of their number: small batches may swing more. Where the predictions of the images were
    not saved, three times the amplitude is needed. SageMaker has no such rule; LossNotDecreasing fires there on every
    noisy run instead.
    """

    explains = ("LossNotDecreasing",)

    amplitude: float = setting(0.15, "standard deviation of the swings", above=0, unit="of the chance-level loss")
    beyond: float = setting(2.5, "standard deviation over what drawing batches explains", above=1)
    window: int = setting(40, "steps that are judged, at least", low=20, unit="steps")

    def needs(self) -> Needs:
        return Needs(points=self.window)

    def check(self, view: RunView) -> list[Finding]:
        curve = loss_curve(view)
        warm = curve.after_warm_up()
        needed = curve.needed_steps(self.window, 0.2)
        if len(warm) < needed:
            return [self.not_enough_data(have=len(warm), want=needed)]
        recent = warm.last(min(max(needed, len(warm) // 2), _MAX_STEPS))
        steps, losses, errors = _by_predictions(view, recent.steps)
        if len(steps) < self.window:
            steps, losses, errors = recent.steps, recent.losses, np.full(len(recent), np.nan)
        places = np.arange(len(losses), dtype=float)
        line = np.polyval(np.polyfit(places, losses, _DEGREE), places)
        swings, half = losses - line, len(losses) // 2
        spread, expected = _spread(swings), float(np.sqrt(np.mean(errors**2)))
        blind = not np.isfinite(expected)
        limit = self.amplitude * (_BLIND_FACTOR if blind else 1.0)
        size = spread / max(curve.chance, 1e-12)
        by_chance = spread <= self.beyond * expected  # False where that is not known
        lasting = _spread(swings[half:]) > _SHRINKING * _spread(swings[:half])
        if not (size > limit and not by_chance and lasting and line[0] - line[-1] < spread):
            return [self.clear(value=size, threshold=limit, unit="of the chance-level loss")]
        chance = "" if blind else f", while drawing batches explains {expected:.2g}"
        finding = self.found(
            value=size,
            threshold=limit,
            unit="of the chance-level loss",
            steps=(steps[0], steps[-1]),
            subject="loss",
            cause=f"over the last {len(steps)} steps the loss swings by {spread:.2g} around its trend{chance}, "
            f"and the swings do not shrink",
            fix={"lr": lowered_rate(curve.peak_lr)} if curve.has_rates else {},
            advice="" if curve.has_rates else "Lower the learning rate to a third, or use larger batches.",
            confidence=0.6 if blind else 0.8,
            evidence=Series.of("loss", curve.steps, curve.losses),
        )
        return [finding]


def _by_predictions(view: RunView, chosen_steps: Ints) -> tuple[Ints, Floats64, Floats64]:
    """Return steps with saved predictions, the mean loss of their images and its standard error, all (S,)."""
    table = view.predictions()
    usable = np.isin(table.steps, chosen_steps) & np.isfinite(table.true_probability)
    steps, inverse = np.unique(table.steps[usable], return_inverse=True)
    if not len(steps):
        return steps, np.empty(0), np.empty(0)
    image_losses = -np.log(np.maximum(table.true_probability[usable], _ALMOST_NEVER))
    images = np.bincount(inverse)
    means = np.bincount(inverse, weights=image_losses) / images
    # Pooled over all batches: the few images of one batch say little about the spread.
    within = float(((image_losses - means[inverse]) ** 2).sum() / max(len(image_losses) - len(steps), 1))
    enough = np.median(images) >= _LEAST_IMAGES
    return steps, means, np.sqrt(within / images) if enough else np.full(len(steps), np.nan)


def _spread(values: Floats64) -> float:
    return float(_MAD_TO_STD * np.median(np.abs(values - np.median(values))))
