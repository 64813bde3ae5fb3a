"""Values that black and white have in the images that a model gets, which tell how they were normalised. C channels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from clearsight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from clearsight.core.view import Floats64, RunView

Ends = tuple[Floats64, Floats64]  # (C,) values of black and of white, or (1,) where all channels have the same

FIT = 0.05  # of the range: largest distance of its ends that still fits


def constant_ends(low: float, high: float) -> Ends:
    """Return the same ends for every channel."""
    return np.array([low], float), np.array([high], float)


def normalised_ends(mean: tuple[float, ...], std: tuple[float, ...], times: int = 1) -> Ends:
    """Return the values that black and white of [0, 1] get. times: how often the normalisation is applied."""
    centre, scale = np.asarray(mean, float), np.maximum(np.asarray(std, float), 1e-12)
    black, white = np.zeros_like(centre), np.ones_like(centre)
    for _ in range(times):
        black, white = (black - centre) / scale, (white - centre) / scale
    return black, white


# What images are usually fed as.
USUAL: Mapping[str, Ends] = {
    "as pixels from 0 to 255": constant_ends(0, 255),
    "in 0 to 1, not normalised": constant_ends(0, 1),
    "in -1 to 1": constant_ends(-1, 1),
    "normalised by ImageNet's figures": normalised_ends(IMAGENET_MEAN, IMAGENET_STD),
}
# Ends that only a second normalisation explains.
TWICE: Mapping[str, Ends] = {
    "ImageNet's figures": normalised_ends(IMAGENET_MEAN, IMAGENET_STD, 2),
    "a mean and standard deviation of 0.5": normalised_ends((0.5,), (0.5,), 2),
}


def distance(actual: Ends, ends: Ends) -> float:
    """Return the largest difference of the ends over the channels, in range lengths."""
    length = np.maximum(ends[1] - ends[0], 1e-12)
    return float(np.maximum(np.abs(actual[0] - ends[0]), np.abs(actual[1] - ends[1])).max() / length.min())


def training_ends(view: RunView) -> Ends | None:
    """Return the smallest and the largest value of each channel in the saved training batches; None without any."""
    saved = [value for _, value in view.raw("input_channels") if np.isfinite(value).all()]
    if not saved or len({value.shape for value in saved}) > 1:
        return None
    ranges = np.array(saved, float)
    return ranges[:, :, 2].min(axis=0), ranges[:, :, 3].max(axis=0)


def likely_ends(actual: Ends) -> Ends:
    """Return the values of black and white, for images whose smallest and largest values are `actual`.

    Those of a usual normalisation where it explains most ends; else the ends themselves.
    """
    return min(
        (ends for ends in USUAL.values() if _explains(ends, actual)), key=partial(distance, actual), default=actual
    )


def _explains(ends: Ends, actual: Ends) -> bool:
    """Return True if no value is outside of the ends, and half of the smallest and largest values are at them."""
    slack, (low, high) = FIT * (ends[1] - ends[0]), actual
    near = np.concatenate([np.abs(low - ends[0]) <= slack, np.abs(high - ends[1]) <= slack])
    inside = (low >= ends[0] - slack).all() and (high <= ends[1] + slack).all()
    return bool(inside and near.mean() >= 0.5)
