"""CheckInputImages: the inputs of the model can hardly be images."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, RunView

_MEAN, _STD = 0, 1  # columns of the saved channel statistics
_POSITIONS = 3  # of an epoch at which the same batch must have come: twice may be chance


class CheckInputImages(Rule):
    """Found when the inputs are not finite, (nearly) constant, always the same batch, or far off centre.

    A channel is off centre if its mean, over all batches seen, is beyond `max_mean`. SageMaker's rule of this name uses
    0.2, which every bright or dark dataset exceeds: skin has a mean of +1 after ImageNet's normalisation. But no image
    in [0, 1] gets beyond 3 with the usual figures (white is 2.6 with ImageNet's, 2.8 with those of handwritten digits),
    so the limit is 3 here. Constant means a standard deviation below `min_std`: images that were divided by 255 twice
    have 0.004, a dark photograph has 0.05.
    """

    explains = ("NotLearning", "LossNotDecreasing", "UnderfitCapacity", "LearningRateTooLow")
    unused = ("regex", "channel")

    max_mean: float = setting(3.0, "largest distance of a channel's mean from 0", above=0, aliases=("threshold_mean",))
    min_std: float = setting(0.02, "smallest standard deviation of a channel", low=0)
    blank_share: float = setting(0.5, "share of training images that may be nearly one colour", above=0, high=1)
    images: int = setting(32, "images that are needed", low=1, aliases=("pictures", "threshold_samples"))
    batches: int = setting(3, "saved batches that are needed", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.batches)

    def check(self, view: RunView) -> list[Finding]:
        # Counted before training: a frozen backbone's head gets features, whose values do not show it.
        if (blank := self._blank(view)) is not None:
            return [blank]
        saved = [(at.step, value) for at, value in view.raw("input_channels")]
        if view.context.cached or len(saved) < self.batches:
            cause = "the watched model gets features, not images" if view.context.cached else ""
            return [self.not_enough_data(have=len(saved), of="batches with saved channels", cause=cause)]
        steps = np.array([step for step, _ in saved], np.int64)
        predicted = int(np.count_nonzero(np.isin(view.predictions().steps, steps)))
        # Predictions count the images exactly; without them every batch counts as full.
        images = predicted or len(steps) * max(view.context.batch_size, 1)
        if images < self.images:
            return [self.not_enough_data(have=images, want=self.images, of="images")]
        channels = np.array([value for _, value in saved], float)
        found = [*filter(None, (self._nonfinite(steps, channels), self._constant(steps, channels)))]
        if not found:  # a broken or constant batch is off centre and repeated too: report the cause alone
            found = [*filter(None, (self._repeated(view, steps, channels), self._off_centre(steps, channels)))]
        return found or [self.clear(value=np.abs(_means(channels)).max(), threshold=self.max_mean)]

    def _blank(self, view: RunView) -> Finding | None:
        """Return a finding if most training images were nearly one colour when they were read."""
        blank, images = view.context.blank_images, view.context.train_size
        if not images or blank / images < self.blank_share:
            return None
        return self.found(
            value=blank / images,
            threshold=self.blank_share,
            unit="of the training images",
            severity=Severity.SEVERE,
            steps=(0, view.done()),
            subject="inputs",
            cause=f"{blank:,} of {images:,} training images are nearly one colour",
            advice="Look at them with clearsight data --html; --value-range LOW,HIGH sets the values that become black "
            "and white in images of more than 8 bits.",
            confidence=0.95,
        )

    def _nonfinite(self, steps: Ints, channels: Floats64) -> Finding | None:
        bad = np.array([not np.isfinite(batch).all() for batch in channels], bool)
        if not bad.any():
            return None
        return self.found(
            value=bad.mean(),
            threshold=0.0,
            unit="of the batches",
            severity=Severity.SEVERE,
            steps=(steps[bad][0], steps[bad][-1]),
            subject="inputs",
            cause=f"{bad.sum()} of {len(bad)} saved batches of inputs contain values that are not finite",
            advice="Check for broken images and for a division by zero before the model.",
            confidence=0.98,
            evidence=Series.of("batch has NaN or infinite inputs", steps, bad),
        )

    def _constant(self, steps: Ints, channels: Floats64) -> Finding | None:
        spread = channels[:, :, _STD].max(axis=1)
        if not float(np.median(spread)) < self.min_std:  # a NaN is not constant
            return None
        return self.found(
            value=float(np.median(spread)),
            threshold=self.min_std,
            unit="standard deviation",
            severity=Severity.SEVERE,
            steps=(steps[0], steps[-1]),
            subject="inputs",
            cause=f"the inputs hardly vary: standard deviation {np.median(spread):.2g}; images have 0.2 to 1",
            advice="Check that images are read, and that they are divided by 255 only once.",
            evidence=Series.of("standard deviation of the inputs", steps, spread),
        )

    def _repeated(self, view: RunView, steps: Ints, channels: Floats64) -> Finding | None:
        """Return a finding if the same batch came at different places of the epoch."""
        per_epoch = view.context.steps_per_epoch
        positions = len(np.unique((steps - 1) % per_epoch)) if per_epoch > 1 else 0
        if positions < min(_POSITIONS, per_epoch) or len(steps) <= _POSITIONS or (channels != channels[:1]).any():
            return None
        return self.found(
            value=1.0,
            threshold=1 / per_epoch,
            unit="of the batches",
            steps=(steps[0], steps[-1]),
            subject="inputs",
            cause=f"all {len(steps)} saved batches are the same batch, although an epoch has {per_epoch}",
            advice="Draw a new batch in every step. An iterator created inside the loop starts over each time.",
            evidence=Series.of("mean of the first channel", steps, channels[:, 0, _MEAN]),
        )

    def _off_centre(self, steps: Ints, channels: Floats64) -> Finding | None:
        means = _means(channels)
        channel = int(np.argmax(np.abs(means)))
        if abs(means[channel]) <= self.max_mean:
            return None
        listed = ", ".join(f"{mean:.3g}" for mean in means)
        return self.found(
            value=abs(means[channel]),
            threshold=self.max_mean,
            steps=(steps[0], steps[-1]),
            subject=f"channel {channel}",
            cause=f"the channels of the inputs have the means {listed}; normalised images have means near 0",
            advice="Scale images to [0, 1] once, and subtract the channel means of that range.",
            confidence=0.8,
            evidence=Series.of(f"mean of channel {channel}", steps, channels[:, channel, _MEAN]),
        )


def _means(channels: Floats64) -> Floats64:
    """Return the mean of each channel, (C,), as the median over the batches."""
    return np.asarray(np.median(channels[:, :, _MEAN], axis=0))
