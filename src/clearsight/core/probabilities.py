"""Probabilities of classes from logits, as trained and as served after calibration. N images, C classes; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Return probabilities (N, C); rows sum to 1. Logits that are not finite make their own row NaN and no other."""
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        # Minus the largest logit: exp of a logit above 709 overflows float64.
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        powers = np.exp(shifted)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def confidence(logits: Floats) -> npt.NDArray[np.float64]:
    """Return the probability of the most probable class, (N,)."""
    return np.asarray(softmax(logits).max(axis=1))


def calibrated(logits: Floats, temperature: float, calibration: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Return logits (N, C) whose softmax is served; the order of the classes stays.

    A temperature above 1 divides all logits. One below 1 raises the confidence, and only that of images like those of
    the validation split: with confidence c of the logits as they are, they are divided by temperature ** w, where w
    rises from 0 at c = `low` to 1 at c = `typical` and beyond, and falls to -1 below `low`. Images of other classes,
    whose confidence is mostly low, thus get no surer.

    calibration: that of a bundle; low and typical are confidences in [0, 1]. Without them all logits are divided.
    Sources: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2; a temperature that depends on
    the image as in Joy et al. 2023, "Sample-dependent Adaptive Temperature Scaling for Improved Calibration".
    """
    if "low" not in calibration:
        return logits.astype(np.float64) / temperature
    return divided(logits, temperature, powers(logits, calibration["low"], calibration["typical"]))


def powers(logits: Floats, low: float, typical: float) -> npt.NDArray[np.float64]:
    """Return w of each image, (N,) in [-1, 1]; see calibrated."""
    # The smallest float: images that are all equally sure have no range between low and typical.
    width = max(typical - low, float(np.finfo(np.float64).tiny))
    return np.asarray(np.clip((confidence(logits) - low) / width, -1, 1))


def divided(logits: Floats, temperature: float, powers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the logits divided by temperature, or by temperature ** w where it is below 1. powers: w, (N,)."""
    divisor = temperature if temperature >= 1 else temperature ** powers[:, None]
    return np.asarray(logits.astype(np.float64) / divisor)
