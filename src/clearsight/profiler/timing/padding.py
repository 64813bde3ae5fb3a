"""Borders of one colour around images: pixels that are computed like any other and say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape, EmptyInput


def border_share(images: npt.NDArray[Any]) -> float:
    """Mean share in [0, 1) of the pixels of an image that are border, as letterboxing leaves it.

    images: (N, 3, H, W) or (N, H, W, 3), float or uint8; (N, 3, H, 3) is read as the latter.
    The border is what lies outside of the smallest box with every row and every column that is not of the border's
    colour throughout. That colour is the one of the top left or of the bottom right pixel, whichever gives the larger
    border: every bar touches one of the two. An image of a single colour has no border.
    Raises BadShape for anything else than images of three channels, EmptyInput where there are none.
    """
    images = np.asarray(images)
    if images.ndim != 4 or 3 not in (images.shape[1], images.shape[3]):
        raise BadShape("images", f"have the shape {images.shape}", fix="Pass (N, 3, H, W) or (N, H, W, 3).")
    if not images.size:
        raise EmptyInput("images", "there are no pixels to look at")
    channels_last = images if images.shape[3] == 3 else images.transpose(0, 2, 3, 1)
    return float(np.mean([_border(image) for image in channels_last]))


def _border(image: npt.NDArray[Any]) -> float:
    """The share of an image (H, W, 3) that is border."""
    first, last = image[0, 0], image[-1, -1]
    share = _outside(image, first)
    return share if (first == last).all() else max(share, _outside(image, last))


def _outside(image: npt.NDArray[Any], colour: npt.NDArray[Any]) -> float:
    """The share of an image (H, W, 3) that is a border of this colour (3,)."""
    edges = image[0], image[-1], image[:, 0], image[:, -1]
    if not any((edge == colour).all() for edge in edges):
        return 0.0  # most images: four edges tell as much as all pixels, and cost far less
    height, width, _ = image.shape
    same = image.reshape(height, -1) == np.tile(colour, width)  # rows of plain numbers: several times faster
    rows = np.flatnonzero(~same.all(axis=1))
    if not len(rows):
        return 0.0
    columns = np.flatnonzero(~same.all(axis=0).reshape(width, 3).all(axis=1))
    inside = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return float(1.0 - inside / (height * width))
