"""Images of training and of validation as the model gets them, compared. N images, C channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.tensors import Mode, Moment
from clearsight.core.view import Floats64, RunView
from clearsight.debugger.analysis.pixel_ends import Ends, likely_ends

_SAVED = "image_statistics"  # rows of means, standard deviations, correlations, sharpness, reread, height and width
_CHANNELS = {channels + channels + channels * (channels - 1) // 2 + 4: channels for channels in range(1, 5)}  # by width
_SURE = 3.0  # standard errors
_BLANK = 0.02  # standard deviation of an image beside that of the one that varies most, below which it shows nothing
_GREY = 0.999  # correlation of channels that are equal but for what they were normalised by
_ORDER_FIT = 3.0  # times that another order of the channels must fit better than the given one
_ORDER_EFFECT = 0.05  # difference of means (in standard deviations) or of correlations that an order must explain

_LEAST_IMAGES = 8  # that show how channels depend on each other
# Of a channel's spread over images the part that the first channel does not explain: 0.5 to 0.8 of photographs, 0.3 at
# most of grey images with usual noise.
_COLOURFUL = 0.4


@dataclass(frozen=True, slots=True)
class SampledImages:
    """Statistics of single images of a mode.

    means, stds: (N, C).  correlations: (N, C * (C - 1) / 2).  sharpness: (N,).  sizes: (N, 2) height and width.
    reread: (N,) step to the next pixel and channel of the same numbers read as (H, W, C), over that of the image.
    """

    means: Floats64
    stds: Floats64
    correlations: Floats64
    sharpness: Floats64
    reread: Floats64
    sizes: Floats64

    def __len__(self) -> int:
        return len(self.means)

    @property
    def spread(self) -> Floats64:
        """Return the standard deviation of all pixels of each channel, (C,)."""
        return np.asarray(np.sqrt(np.square(self.stds).mean(axis=0) + self.means.var(axis=0)))

    @property
    def colourful(self) -> bool:
        """Return True if the means of the channels differ from image to image, as colours do and noise does not.

        Of grey images each channel follows from the first by one line, however they are normalised.
        """
        first = self.means[:, 0]
        if self.means.shape[1] < 2 or len(first) < _LEAST_IMAGES or not first.std():
            return False
        lines = [np.polyfit(first, channel, 1) for channel in self.means[:, 1:].T]
        rests = [
            float((channel - np.polyval(line, first)).std() / max(channel.std(), 1e-12))
            for line, channel in zip(lines, self.means[:, 1:].T, strict=True)
        ]
        return max(rests) > _COLOURFUL

    @property
    def grey_share(self) -> float:
        """Return the share of images whose channels all say the same; 0 for images of one channel."""
        if not self.correlations.shape[1]:
            return 0.0
        return float((self.correlations > _GREY).all(axis=1).mean())

    def scaled(self, black: Floats64, white: Floats64) -> SampledImages:
        """Return the images with black at 0 and white at 1. black, white: (C,) or (1,) values of both here."""
        length = np.maximum(white - black, 1e-12)
        means, stds = (self.means - black) / length, self.stds / length
        return replace(self, means=means, stds=stds)

    def permuted(self, order: tuple[int, ...]) -> SampledImages:
        """Return the images with their channels in another order."""
        channels = self.means.shape[1]
        pairs = [(a, b) for a in range(channels) for b in range(a + 1, channels)]
        places = [pairs.index((min(order[a], order[b]), max(order[a], order[b]))) for a, b in pairs]
        picked = list(order)
        means, stds = self.means[:, picked], self.stds[:, picked]
        return replace(self, means=means, stds=stds, correlations=self.correlations[:, places])


def split_images(view: RunView, mode: Mode) -> SampledImages | None:
    """Return what was saved of the images of a mode; None where nothing was, or images of several kinds."""
    parts = [value for _, value in view.raw(_SAVED, mode) if value.ndim == 2]
    widths = {part.shape[1] for part in parts}
    channels = _CHANNELS.get(widths.pop()) if len(widths) == 1 else None
    if channels is None:
        return None
    rows: npt.NDArray[Any] = np.concatenate(parts).astype(float)
    # Once each: an evaluation reads the same images as the one before.
    rows = np.unique(rows[np.isfinite(rows).all(axis=1)], axis=0)
    if not len(rows):
        return None
    return SampledImages(
        means=rows[:, :channels],
        stds=rows[:, channels : 2 * channels],
        correlations=rows[:, 2 * channels : -4],
        sharpness=rows[:, -4],
        reread=rows[:, -3],
        sizes=rows[:, -2:],
    )


def blank_images(view: RunView, mode: Mode) -> tuple[int, int]:
    """Return how many of the images that were looked at in a mode are of one colour, and how many those are.

    Of one colour beside the image that varies most: a mode of such images alone has none.
    """
    saved = [value for _, value in view.raw(_SAVED, mode) if value.ndim == 2]
    parts = [(rows, _CHANNELS[rows.shape[1]]) for rows in saved if rows.shape[1] in _CHANNELS]
    spreads = [rows[:, channels : 2 * channels].max(axis=1) for rows, channels in parts]
    largest = np.concatenate(spreads).astype(float) if spreads else np.empty(0)
    return int((largest < _BLANK * largest.max(initial=0.0)).sum()), len(largest)


def equal_images(evaluated: Sequence[tuple[Moment, npt.NDArray[Any]]]) -> tuple[int, int]:
    """Return how many images of the first evaluation have the fingerprint of another one, and how many it has.

    evaluated: fingerprints of the batches of one split, (N,) each. Batches that come again whole are left out: they are
    evaluated twice. In training an image may be drawn twice.
    """
    first = [np.asarray(value).ravel() for at, value in evaluated if at.train_step == evaluated[0][0].train_step]
    batches = list({value.tobytes(): value for value in first}.values())
    if not batches:
        return 0, 0
    images = np.concatenate(batches)
    _, place, counts = np.unique(images, return_inverse=True, return_counts=True)
    return int((counts[place] > 1).sum()), len(images)


def shift(train: SampledImages, valid: SampledImages) -> float:
    """Return the largest difference of the channel means in standard deviations of the pixels; 0 within chance."""
    difference = np.abs(valid.means.mean(axis=0) - train.means.mean(axis=0))
    error = np.sqrt(train.means.var(axis=0) / len(train) + valid.means.var(axis=0) / len(valid))
    sure = difference > _SURE * error
    return float(np.where(sure, difference / np.maximum(train.spread, 1e-12), 0.0).max())


def scale(train: SampledImages, valid: SampledImages) -> float:
    """Return the ratio of the standard deviations of the pixels, of the channel where it is farthest from 1.

    Nearer to 1 by two standard errors: a few images of very different brightness say little.
    """
    logs = np.log(np.maximum(valid.spread, 1e-12) / np.maximum(train.spread, 1e-12))
    error = np.sqrt(np.square(_spread_error(train)) + np.square(_spread_error(valid)))
    logs = np.sign(logs) * np.maximum(np.abs(logs) - 2 * error, 0.0)
    return float(np.exp(logs[np.argmax(np.abs(logs))]))


def _spread_error(images: SampledImages) -> Floats64:
    """Return the standard error of the logarithm of the spread, (C,), by the delta method."""
    squares = np.square(images.stds) + np.square(images.means - images.means.mean(axis=0))
    error = squares.std(axis=0) / np.sqrt(len(images))
    return np.asarray(0.5 * error / np.maximum(squares.mean(axis=0), 1e-12))


def sharpness_ratio(train: SampledImages, valid: SampledImages) -> float:
    """Return the sharpness of validation over that of training, as medians over the images."""
    return float(np.median(valid.sharpness) / max(float(np.median(train.sharpness)), 1e-12))


def size_ratio(train: SampledImages, valid: SampledImages) -> float:
    """Return the side of validation images over that of training images, as medians of the shorter side."""
    sides = [float(np.median(images.sizes.min(axis=1))) for images in (train, valid)]
    return sides[1] / max(sides[0], 1.0)


def channel_order(train: SampledImages, valid: SampledImages, ends: Ends | None = None) -> tuple[int, ...] | None:
    """Return the order of validation's channels that fits training; None where the given one fits, or no order does.

    ends: smallest and largest value of each channel of training, (C,) each. Channels that are exchanged before they are
    normalised get each other's mean and standard deviation, so pixels are compared as they were before that.
    """
    if train.means.shape[1] != 3:
        return None
    if ends is not None:
        black, white = likely_ends(ends)
        train, valid = train.scaled(black, white), valid.scaled(black, white)
    given = _order_misfit(train, valid)
    orders = {
        order: _order_misfit(train, valid.permuted(order)) for order in permutations(range(3)) if order != (0, 1, 2)
    }
    best = min(orders, key=lambda order: orders[order])
    if given < _SURE**2 or _ORDER_FIT * orders[best] > given:
        return None
    first, second = _levels(train), _levels(valid)
    return best if float(np.abs(first - second).max()) > _ORDER_EFFECT else None


def _order_misfit(train: SampledImages, valid: SampledImages) -> float:
    """Return the misfit of the images with that of the differences between channels, which vary less than the means."""
    squares = [*_squares(train, valid)]
    for first, second in ((train.means, valid.means), (train.stds, valid.stds)):
        squares.append(_squared_errors(_differences(first), _differences(second)))
    return float(np.concatenate(squares).mean())


def _differences(values: Floats64) -> Floats64:
    """Return the differences of each channel and the next one, (N, C) of (N, C)."""
    return np.asarray(values - np.roll(values, 1, axis=1))


def misfit(train: SampledImages, valid: SampledImages) -> tuple[float, str]:
    """Return the mean squared difference in standard errors, about 1 for images of one kind, and where it is largest.

    Of means, standard deviations and correlations of the channels, which must be as many in both.
    """
    names = ("mean of the channels", "contrast of the channels", "correlation of the channels")
    squares = [part.mean() if part.size else 0.0 for part in _squares(train, valid)]
    return _misfit(train, valid), names[int(np.argmax(squares))]


def _levels(images: SampledImages) -> Floats64:
    return np.concatenate(
        [images.means.mean(axis=0) / np.maximum(images.spread, 1e-12), images.correlations.mean(axis=0)]
    )


def _misfit(train: SampledImages, valid: SampledImages) -> float:
    return float(np.concatenate(_squares(train, valid)).mean())


def _squares(train: SampledImages, valid: SampledImages) -> list[Floats64]:
    """Return squared differences in standard errors, of means, standard deviations and correlations."""
    return [
        _squared_errors(train.means, valid.means),
        _squared_errors(train.stds, valid.stds),
        _squared_errors(train.correlations, valid.correlations),
    ]


def _squared_errors(first: Floats64, second: Floats64) -> Floats64:
    """Return the squared difference of the means of two samples, (N, K) and (M, K), in standard errors, (K,)."""
    variance = first.var(axis=0) / len(first) + second.var(axis=0) / len(second)
    return np.asarray(np.square(first.mean(axis=0) - second.mean(axis=0)) / np.maximum(variance, 1e-12))
