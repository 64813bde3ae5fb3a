"""CheckInputImages: what the model is given can hardly be images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, RunView

_MEAN, _STD = 0, 1  # columns of the saved figures
_PLACES = 3  # of an epoch at which the same batch must have come


class CheckInputImages(Rule):
    """Found when the inputs are not finite, (nearly) constant, the same batch over and over, or far off centre.

    Off centre is a channel whose mean, over all batches seen, is beyond `max_mean`. SageMaker's rule of this name asks
    for 0.2, which every bright or dark data set breaks: skin is at +1 under ImageNet's mean. But no image in [0, 1]
    comes beyond 3 under the figures in use (white is at 2.6 under ImageNet's, at 2.8 under those of handwritten
    digits), so that is where it starts here. Constant means a standard deviation of less than `min_std`: images that
    were divided by 255 twice have 0.004, a dark photograph 0.05.
    """

    explains = ("HeadNotLearning", "LossNotDecreasing", "UnderfitCapacity", "LearningRateTooLow")
    unused = ("regex", "channel")

    max_mean: float = setting(3.0, "distance of a channel's mean from 0", above=0, aliases=("threshold_mean",))
    min_std: float = setting(0.02, "a channel's standard deviation", low=0)
    images: int = setting(32, "images that are needed", low=1, aliases=("threshold_samples",))
    batches: int = setting(3, "saved batches that are needed", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.batches)

    def check(self, view: RunView) -> Iterator[Finding]:
        saved = [(at.step, value) for at, value in view.raw("input_channels")]
        if view.facts.cached or len(saved) < self.batches:
            cause = "the model under watch is given features, no images" if view.facts.cached else ""
            yield self.not_enough_data(have=len(saved), of="batches with saved channels", cause=cause)
            return
        steps = np.array([step for step, _ in saved], np.int64)
        answered = int(np.count_nonzero(np.isin(view.outcomes().steps, steps)))
        images = answered or len(steps) * max(view.facts.batch_size, 1)
        if images < self.images:
            yield self.not_enough_data(have=images, want=self.images, of="images")
            return
        figures = np.array([value for _, value in saved], float)
        faults = [f for f in (self._broken(steps, figures), self._constant(steps, figures)) if f]
        faults += [] if faults else [f for f in (self._same(view, steps, figures), self._off(steps, figures)) if f]
        yield from faults or [self.clear(value=_largest(_over_batches(figures, _MEAN)), threshold=self.max_mean)]

    def _broken(self, steps: Ints, figures: Floats64) -> Finding | None:
        bad = np.array([not np.isfinite(figure).all() for figure in figures], bool)
        if not bad.any():
            return None
        return self.found(
            value=float(bad.mean()),
            threshold=0.0,
            unit="of the batches",
            severity=Severity.SEVERE,
            steps=(steps[bad][0], steps[bad][-1]),
            subject="inputs",
            cause=f"{bad.sum()} of {len(bad)} saved batches of inputs hold values that are not finite",
            advice="Look for broken images, and for a division by zero before the model.",
            confidence=0.98,
            evidence=Series.of("batch has NaN or infinite inputs", steps, bad),
        )

    def _constant(self, steps: Ints, figures: Floats64) -> Finding | None:
        spread = figures[:, :, _STD].max(axis=1)
        if not float(np.median(spread)) < self.min_std:  # a NaN is not constant
            return None
        return self.found(
            value=float(np.median(spread)),
            threshold=self.min_std,
            unit="standard deviation",
            severity=Severity.SEVERE,
            steps=(steps[0], steps[-1]),
            subject="inputs",
            cause=f"the inputs hardly vary: standard deviation {np.median(spread):.2g}, where images have 0.2 to 1",
            advice="Check that images are read and are divided by 255 once only.",
            evidence=Series.of("standard deviation of the inputs", steps, spread),
        )

    def _same(self, view: RunView, steps: Ints, figures: Floats64) -> Finding | None:
        """The same batch at different places of the epoch."""
        per_epoch = view.facts.steps_per_epoch
        places = len(np.unique((steps - 1) % per_epoch)) if per_epoch > 1 else 0
        if places < min(_PLACES, per_epoch) or len(steps) <= _PLACES or (figures != figures[:1]).any():
            return None
        return self.found(
            value=1.0,
            threshold=1 / per_epoch,
            unit="of the batches",
            steps=(steps[0], steps[-1]),
            subject="inputs",
            cause=f"all {len(steps)} saved batches are the same one, of the {per_epoch} that an epoch has",
            advice="Draw a new batch in every step; an iterator made inside of the loop starts again each time.",
            evidence=Series.of("mean of the first channel", steps, figures[:, 0, _MEAN]),
        )

    def _off(self, steps: Ints, figures: Floats64) -> Finding | None:
        means = _over_batches(figures, _MEAN)
        channel = int(np.argmax(np.abs(means)))
        if _largest(means) <= self.max_mean:
            return None
        told = ", ".join(f"{mean:.3g}" for mean in means)
        return self.found(
            value=_largest(means),
            threshold=self.max_mean,
            steps=(steps[0], steps[-1]),
            subject=f"channel {channel}",
            cause=f"the channels of the inputs have the means {told}; images normalised as usual are near 0",
            advice="Scale images to [0, 1] once and subtract the mean of the channels as it is in that range.",
            confidence=0.8,
            evidence=Series.of(f"mean of channel {channel}", steps, figures[:, channel, _MEAN]),
        )


def _over_batches(figures: Floats64, column: int) -> Floats64:
    """(C,) a figure of each channel: the median over the batches."""
    return np.asarray(np.median(figures[:, :, column], axis=0))


def _largest(means: Floats64) -> float:
    return float(np.abs(means).max())
