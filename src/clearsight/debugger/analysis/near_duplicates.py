"""Validation images that are training images but for a shift, a mirroring or other random changes. N images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clearsight.core.view import Floats64
from clearsight.debugger.analysis.thumbnails import Thumbnails

_SHIFT = 2  # pixels of a thumbnail, to each side: a sixth of the image
_MOST = 128  # validation images that are compared, which bounds the time
_LEAST = 40
# Distance to the nearest training image over that to the nearest other validation image. Below it were at most 3 % of
# the images of disjoint splits of six kinds of images, and half and more of those that training had, augmented.
_NEAR = 0.3


def near_duplicates(train: Thumbnails, valid: Thumbnails) -> npt.NDArray[np.bool_]:
    """Return which validation images are much nearer to a training image than to any other validation image, (N,).

    Distances are 1 minus the correlation of the middle of the one with any equally large part of the other, mirrored
    or not. Splits that were drawn from the same images at random have both distances alike. Validation images that
    came twice count once.
    """
    kept = np.sort(np.unique(valid.pixels.reshape(len(valid), -1), axis=0, return_index=True)[1])
    valid = valid.select(kept[np.linspace(0, len(kept) - 1, min(len(kept), _MOST)).round().astype(int)])
    if min(len(train), len(valid)) < _LEAST:
        return np.zeros(0, np.bool_)
    middle = _normalised(valid.pixels[:, :, _SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    nearest = _nearest(middle, train.pixels)
    others = _distances(middle, valid.pixels)
    np.fill_diagonal(others, np.inf)
    return np.asarray(nearest <= _NEAR * others.min(axis=1))


def _nearest(middle: Floats64, pixels: Floats64) -> Floats64:
    return np.asarray(_distances(middle, pixels).min(axis=1))


def _distances(middle: Floats64, pixels: Floats64) -> Floats64:
    """Return the distances (N, M) of middles (N, D) to the nearest part of each of the images (M, C, S, S)."""
    size = pixels.shape[2] - 2 * _SHIFT
    result = np.full((len(middle), len(pixels)), np.inf)
    for mirrored in (pixels, pixels[..., ::-1]):
        for row in range(2 * _SHIFT + 1):
            for column in range(2 * _SHIFT + 1):
                part = _normalised(mirrored[:, :, row : row + size, column : column + size])
                np.minimum(result, 1 - middle @ part.T, out=result)
    return result


def _normalised(pixels: Floats64) -> Floats64:
    """Return rows (N, D) of mean 0 and length 1, so that their products are correlations."""
    rows = pixels.reshape(len(pixels), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
