"""Borders of one colour around images: pixels that cost compute and contain no information."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape, EmptyInput
from clearsight.core.guard import Guard, guarded

_EVERY = 50  # batches: padding hardly changes during a run
_IMAGES = 8  # measured of a batch, which takes about a millisecond


class PaddingSampler:
    """Share of border in a few images of the first batch and of every 50th after it. Nothing raises."""

    def __init__(self) -> None:
        self.guard = Guard("the profiler's padding measurement", report=logging.getLogger(__name__).warning)
        self.share: float | None = None  # of the step under way, which resets it
        self._batches = 0

    def due(self) -> bool:
        """Count a batch. Return True if it is to be measured."""
        self._batches += 1
        return self._batches % _EVERY == 1

    @guarded
    def measure(self, images: npt.NDArray[Any]) -> None:
        """Measure some images of a batch, spread evenly over it. Shapes: as for `border_share`."""
        self.share = border_share(np.asarray(images[:: max(1, len(images) // _IMAGES)][:_IMAGES]))


def border_share(images: npt.NDArray[Any]) -> float:
    """Return the mean share in [0, 1) of the pixels of an image that are border, as added by letterboxing.

    images: (N, 3, H, W) or (N, H, W, 3), float or uint8; (N, 3, H, 3) is read as the latter.
    The border is everything outside of the smallest box around the rows and columns that contain another colour than
    the border's. That colour is the one of the top left or of the bottom right pixel, whichever gives the larger
    border: every bar touches one of the two. An image of a single colour has no border.
    Raises BadShape for other shapes, EmptyInput for no images.
    """
    images = np.asarray(images)
    if images.ndim != 4 or 3 not in (images.shape[1], images.shape[3]):
        raise BadShape("images", f"have the shape {images.shape}", fix="Pass (N, 3, H, W) or (N, H, W, 3).")
    if not images.size:
        raise EmptyInput("images", "contain no pixels")
    channels_last = images if images.shape[3] == 3 else images.transpose(0, 2, 3, 1)
    return float(np.mean([_border(image) for image in channels_last]))


def _border(image: npt.NDArray[Any]) -> float:
    """Return the share of an image (H, W, 3) that is border."""
    first, last = image[0, 0], image[-1, -1]
    share = _outside(image, first)
    return share if (first == last).all() else max(share, _outside(image, last))


def _outside(image: npt.NDArray[Any], colour: npt.NDArray[Any]) -> float:
    """Return the share of an image (H, W, 3) that is a border of this colour (3,)."""
    edges = image[0], image[-1], image[:, 0], image[:, -1]
    if not any((edge == colour).all() for edge in edges):
        return 0.0  # most images have no border, and the four edges show that at far less cost than all pixels
    height, width, _ = image.shape
    same = image.reshape(height, -1) == np.tile(colour, width)  # on flat rows: several times faster than on (W, 3)
    rows = np.flatnonzero(~same.all(axis=1))
    if not len(rows):
        return 0.0
    columns = np.flatnonzero(~same.all(axis=0).reshape(width, 3).all(axis=1))
    inside = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return float(1.0 - inside / (height * width))
