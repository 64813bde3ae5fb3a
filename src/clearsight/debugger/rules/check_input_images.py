"""CheckInputImages: the inputs of the model can hardly be images."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, RunView
from clearsight.debugger.analysis.pixel_ends import FIT, TWICE, distance, training_ends
from clearsight.debugger.analysis.split_inputs import blank_images, equal_images, split_images

_MEAN, _STD = 0, 1  # columns of the saved channel statistics
_LEAST_DRAWN = 128  # images of an epoch: a few may be all there are
_COLOURS = 3  # channels
_SMOOTH = 0.9  # mean step to the next pixel over the standard deviation: 1.13 for random numbers
_MANY_BLANK, _MORE_BLANK = 0.1, 3.0  # share of images of one colour, and times that of validation, that are no accident
_REREAD = 0.7  # times the steps between pixels after another reading: 1 of noise and more of photographs
_BROKEN_OFF, _ITERATIONS = 0.9, 2  # share of the epochs that were broken off, and epochs that are needed
_FEW_EPOCHS = 3.0  # of images in the whole training
_POSITIONS = 3  # of an epoch at which the same batch must have come: twice may be chance


class CheckInputImages(Rule):
    """Found when the inputs are not finite, (nearly) constant, always the same batch or the same few images, drawn in
    epochs that end early, normalised twice, far off centre, or smooth with three channels that hardly agree.

    Images of one colour are found where they are a tenth of training or more, and three times as many as of validation.
    Few are the images of an epoch of which a tenth or less are different ones. Where the DataLoader of a loop tells the
    indices they are counted, however the images are changed, and must be a tenth or less of the dataset too: a small
    dataset that is drawn often, a subset, and classes that are drawn evenly are clear.

    Epochs end early where nearly all of them stop before a quarter of the DataLoader's batches, and the whole training
    draws less than three times as many as it has.

    A channel is off centre if its mean, over all batches seen, is beyond `max_mean`. SageMaker's rule of this name uses
    0.2, which every bright or dark dataset exceeds: skin has a mean of +1 after ImageNet's normalisation. But no image
    in [0, 1] gets beyond 3 with the usual figures (white is 2.6 with ImageNet's, 2.8 with those of handwritten digits),
    so the limit is 3 here. Constant means a standard deviation below `min_std`: images that were divided by 255 twice
    have 0.004, a dark photograph has 0.05. A `view` or `reshape` in the place of `permute` makes channels of different
    parts of an image: its numbers are smoother when they are read as (H, W, C) again, which images never are.
    """

    explains = (
        *("NotLearning", "LossNotDecreasing", "UnderfitCapacity", "LearningRateTooLow", "Overfit", "Overtraining"),
        "BatchNormDrift",
    )
    unused = ("regex", "channel")

    max_mean: float = setting(3.0, "largest distance of a channel's mean from 0", above=0, aliases=("threshold_mean",))
    min_std: float = setting(0.02, "smallest standard deviation of a channel", low=0)
    blank_share: float = setting(0.5, "share of training images that may be nearly one colour", above=0, high=1)
    min_correlation: float = setting(0.3, "smallest correlation of two colour channels", above=0, below=1)
    images: int = setting(32, "images that are needed", low=1, aliases=("pictures", "threshold_samples"))
    max_equal: float = setting(0.1, "share of validation images that may be equal", above=0, below=1)
    max_distinct: float = setting(0.1, "share of different images below which an epoch repeats few", above=0, below=1)
    batches: int = setting(3, "saved batches that are needed", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.batches)

    def check(self, view: RunView) -> list[Finding]:
        # Counted before training: a frozen backbone's head gets features, whose values do not show it.
        if (early := self._blank(view) or self._few_drawn(view) or self._broken_off(view)) is not None:
            return [early]
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
            centre = self._normalised_twice(view, steps, channels) or self._off_centre(steps, channels)
            found = [*filter(None, (self._repeated(view, steps, channels), centre))]
        found += filter(
            None, [self._equal(view), self._reshaped(view) or self._uncorrelated(view), self._blank_inputs(view)]
        )
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

    def _blank_inputs(self, view: RunView) -> Finding | None:
        """Return a finding if training gets images that show nothing, more than validation does."""
        (blank, images), (blank_valid, valid) = (blank_images(view, mode) for mode in ("train", "eval"))
        share = blank / images if images else 0.0
        if images < self.images or share < _MANY_BLANK or (valid and share < _MORE_BLANK * blank_valid / valid):
            return None
        beside = f", and {blank_valid / valid:.0%} of the validation images" if valid else ""
        return self.found(
            value=share,
            threshold=_MANY_BLANK,
            unit="of the training images",
            severity=Severity.SEVERE if share >= self.blank_share else Severity.WARNING,
            steps=(1, view.done()),
            subject="inputs",
            cause=f"{share:.0%} of {images} training images that were looked at are of one colour, as the model gets "
            f"them{beside}",
            advice="Check what is done with files that cannot be read, and what the augmentation leaves of an image.",
            confidence=0.9,
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
        if per_epoch == 1:  # one batch holds the whole training split
            return None
        # Where the steps of an epoch are not known every step is another place of it.
        positions = len(np.unique((steps - 1) % per_epoch if per_epoch else steps))
        same = not (channels != channels[:1]).any() and len(steps) > _POSITIONS
        same &= positions >= (min(_POSITIONS, per_epoch) if per_epoch else _POSITIONS)
        batches = len(steps) if same else _equal_batches(view)
        if not batches:
            return self._few(view)
        epoch = f"although an epoch has {per_epoch}" if per_epoch else "and the length of an epoch is not known"
        return self.found(
            value=1.0,
            threshold=1 / per_epoch if per_epoch else 1.0,
            unit="of the batches",
            steps=(steps[0], steps[-1]),
            subject="inputs",
            cause=f"all {batches} saved batches are the same batch, {epoch}",
            advice="Draw a new batch in every step. An iterator created inside the loop starts over each time.",
            confidence=0.9 if per_epoch else 0.7,  # a small split may be one batch on purpose
            evidence=Series.of("mean of the first channel", steps, channels[:, 0, _MEAN]),
        )

    def _few(self, view: RunView) -> Finding | None:
        """Return a finding if the first epoch drew few images over and over."""
        per_epoch = view.context.steps_per_epoch
        batches = [np.asarray(value).ravel() for at, value in view.raw("input_hashes") if at.step <= per_epoch]
        drawn = np.concatenate(batches) if batches else np.empty(0)
        distinct = len(np.unique(drawn))
        # A sampler that evens classes out repeats images of the small ones, but hardly all of them so often.
        if len(batches) < per_epoch or len(drawn) < _LEAST_DRAWN or distinct > self.max_distinct * len(drawn):
            return None
        return self.found(
            value=distinct / len(drawn),
            threshold=self.max_distinct,
            unit="of the images of an epoch",
            steps=(1, per_epoch),
            subject="inputs",
            cause=f"the {len(drawn):,} images of the first epoch are {distinct} different ones",
            advice="Look at the sampler and at the indices that it draws: most training images are never used.",
            confidence=0.9,
            evidence=Series.of("different images so far", [0], [distinct]),
        )

    def _few_drawn(self, view: RunView) -> Finding | None:
        """Return a finding if the sampler drew few images of the dataset over and over in an epoch."""
        loop = view.context.loop
        draws, images, size = loop.epoch_draws, loop.epoch_images, loop.dataset_images
        if draws < _LEAST_DRAWN or images > self.max_distinct * min(draws, size):
            return None
        return self.found(
            value=images / draws,
            threshold=self.max_distinct,
            unit="of the images of an epoch",
            severity=Severity.SEVERE,
            steps=(1, max(1, view.done())),
            subject="inputs",
            cause=f"the sampler draws {draws:,} images in an epoch, and they are the same {images:,} of {size:,} again "
            "and again",
            advice="Look at the indices that it draws: it may need a weight for each image and not for each class, or "
            "the length of the whole dataset.",
            confidence=0.95,
            evidence=Series.of("different images of an epoch", [0], [images]),
        )

    def _broken_off(self, view: RunView) -> Finding | None:
        """Return a finding if epochs end long before the DataLoader does.

        A loop that takes one batch of a new iterator in every step has no such epochs, unless it evaluates after each.
        Where the training comes to a few epochs of images all the same, epochs of a fixed length may be meant.
        """
        loop = view.context.loop
        if loop.iterations < _ITERATIONS or loop.broken_off < _BROKEN_OFF * loop.iterations:
            return None
        batches = loop.iterated / loop.iterations
        if batches <= 1 and len(view.evaluations()) < _BROKEN_OFF * loop.iterations:
            return None
        if loop.iterated >= _FEW_EPOCHS * loop.loader_batches:
            return None
        return self.found(
            value=batches / loop.loader_batches,
            threshold=1.0,
            unit="of an epoch",
            steps=(1, max(1, view.done())),
            subject="inputs",
            cause=f"{loop.broken_off} of {loop.iterations} epochs ended after {batches:.3g} of the "
            f"{loop.loader_batches:,} batches of the DataLoader",
            advice="Look for a break, a return or a limit in the loop over batches that was meant for a trial.",
            confidence=0.85,
        )

    def _equal(self, view: RunView) -> Finding | None:
        """Return a finding if many validation images are equal, although they come from different ones."""
        seen = [np.asarray(value).ravel() for _, value in view.raw("input_hashes")]
        training = np.concatenate(seen) if seen else np.empty(0)
        # Many loops evaluate the training split as well.
        held_out = [entry for entry in view.raw("input_hashes", "eval") if not np.isin(entry[1], training).all()]
        equal, images = equal_images(held_out)
        if images < self.images or equal <= self.max_equal * images:
            return None
        return self.found(
            value=equal / images,
            threshold=self.max_equal,
            unit="of the images",
            steps=(1, view.done()),
            subject="inputs",
            cause=f"{equal} of {images} validation images are equal to another one, as the model gets them",
            advice="Look at images as the model gets them: a cast to integers or a clipped range loses what differs. "
            "clearsight data lists files that are equal.",
            confidence=0.8,
            evidence=Series.of("share of equal images", [0], [equal / images]),
        )

    def _reshaped(self, view: RunView) -> Finding | None:
        """Return a finding on images that are smoother when their numbers are read as (H, W, C)."""
        sampled = split_images(view, "train")
        if sampled is None or sampled.means.shape[1] != _COLOURS or len(sampled) < self.images:
            return None
        ratio = float(np.median(sampled.reread))
        if not 0 < ratio < _REREAD:
            return None
        return self.found(
            value=ratio,
            threshold=_REREAD,
            unit="of the steps between pixels",
            severity=Severity.SEVERE,
            steps=(1, view.done()),
            subject="channels",
            cause="the numbers of an image (H, W, C) were laid out as (C, H, W) without moving them: read as (H, W, C) "
            f"again, neighbouring pixels differ {ratio:.2f} times as much",
            advice="Turn images (H, W, C) into (C, H, W) by permute(2, 0, 1), not by view or reshape.",
            confidence=0.95,
        )

    def _uncorrelated(self, view: RunView) -> Finding | None:
        """Return a finding on smooth images whose three channels do not show the same thing."""
        sampled = split_images(view, "train")
        if sampled is None or sampled.means.shape[1] != _COLOURS or len(sampled) < self.images:
            return None
        largest = float(np.abs(np.median(sampled.correlations, axis=0)).max())
        # Random numbers are no images either, but nobody has mixed up their axes.
        if largest >= self.min_correlation or float(np.median(sampled.sharpness)) > _SMOOTH:
            return None
        return self.found(
            value=largest,
            threshold=self.min_correlation,
            unit="correlation",
            severity=Severity.WARNING,
            steps=(1, view.done()),
            subject="channels",
            cause=f"the three channels of the inputs correlate by {largest:.2f} at most; those of photographs do by "
            "0.9: they may show different parts of an image",
            advice="Look at images as the model gets them. Channels that were measured in different ways may be right.",
            confidence=0.7,
        )

    def _normalised_twice(self, view: RunView, steps: Ints, channels: Floats64) -> Finding | None:
        """Return a finding if black and white have values that only a second normalisation gives them."""
        ends = training_ends(view)
        names = [name for name, twice in TWICE.items() if ends is not None and distance(ends, twice) <= FIT]
        if ends is None or not names:
            return None
        listed = [", ".join(f"{value:.3g}" for value in values) for values in ends]
        return self.found(
            value=float(np.abs(ends).max()),
            threshold=self.max_mean,
            severity=Severity.WARNING,
            steps=(steps[0], steps[-1]),
            subject="inputs",
            cause=f"images are normalised twice by {names[0]}: their channels go from {listed[0]} to {listed[1]}",
            advice="Leave out one of the two normalisations; look at the transforms of the dataset and at the loop.",
            confidence=0.9,
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


def _equal_batches(view: RunView) -> int:
    """Return the number of training batches with fingerprints, if all are of the same images in order; else 0."""
    saved = [value for _, value in view.raw("input_hashes")]
    if len(saved) <= 2 * _POSITIONS or len(np.unique(saved[0])) < 2:
        return 0
    return len(saved) if all(np.array_equal(value, saved[0]) for value in saved[1:]) else 0
