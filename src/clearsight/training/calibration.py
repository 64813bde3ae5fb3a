"""Calibration: the temperature that makes the probabilities of a classifier agree with how often it is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from clearsight.core.probabilities import Floats, confidence, divided, powers
from clearsight.training.metrics import Ints, cross_entropy

# Half the 80 % quantile of chi-square with one degree of freedom: the temperatures whose likelihood is within this many
# nats of the best one form an interval of 80 % confidence (benchmarks/calibration.py measures held-out loss with it).
_NATS = 0.82
_LOWEST, _HIGHEST = 0.05, 20.0
_HALVINGS = 25  # narrow log T to 4e-5, far below the width of the interval
_LOW, _TYPICAL = 0.1, 0.5  # quantiles of the confidence on validation images


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature T > 0, and the validation images that it was fitted on.

    loss_before, loss_after: mean cross-entropy of them in nats, of the logits and of the calibrated ones.
    low, typical: confidences between which a temperature below 1 comes into effect; see core.probabilities.calibrated.
    may_be_trained: an earlier training may have learned from the images.
    """

    temperature: float
    images: int
    errors: int
    loss_before: float
    loss_after: float
    low: float
    typical: float
    may_be_trained: bool = False

    def to_json(self) -> dict[str, float]:
        """Return the fields; `may_be_trained` only where it is true."""
        return {name: value for name, value in asdict(self).items() if value is not False}


def calibrate(logits: Floats, labels: Ints, *, may_be_trained: bool = False) -> Calibration:
    """Return the temperature that N validation images support; 1 when they do not contradict 1.

    The cross-entropy of a few images, or of images without an error, is smallest at extreme temperatures, which ruin
    the probabilities of all other images. Therefore T is not the best one, but the one nearest to 1 within its interval
    of 80 % confidence. Without errors it is never below 1, since nothing then tells how often the model is wrong, nor
    where most images are classified wrongly, since the confidence of such a model separates no images.

    logits: (N, C).  labels: (N,) in [0, C).  may_be_trained: an earlier training may have learned from these images.
    Then they say nothing about the confidence in new ones, and T is never below 1.
    Raises BadShape or EmptyInput.
    Sources: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2, "temperature scaling"; Wilks
    1938 for the interval from the likelihood.
    """
    before, errors = cross_entropy(logits, labels), int((logits.argmax(axis=1) != labels).sum())
    low, typical = (float(each) for each in np.quantile(confidence(logits), [_LOW, _TYPICAL]))
    shares = powers(logits, low, typical)

    def loss(temperature: float) -> float:
        return cross_entropy(divided(logits, temperature, shares), labels)

    temperature = _nearest_to_one(lambda logarithm: loss(float(np.exp(logarithm))) * len(labels))
    if may_be_trained or not errors or 2 * errors > len(labels):
        temperature = max(temperature, 1.0)
    return Calibration(temperature, len(labels), errors, before, loss(temperature), low, typical, may_be_trained)


def _nearest_to_one(loss: Callable[[float], float]) -> float:
    """Return the temperature nearest to 1 whose likelihood is within `_NATS` of the best one.

    loss: of the logarithm of a temperature, summed over the images, in nats.
    """
    best = _minimum(loss, np.log(_LOWEST), np.log(_HIGHEST))
    most = loss(best) + _NATS
    inside, outside = best, 0.0
    if loss(outside) <= most:
        return 1.0
    for _ in range(_HALVINGS):  # the loss of each image is convex in a power of T, and rises from the best T to 1
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if loss(middle) <= most else (inside, middle)
    return float(np.exp(inside))


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one minimum has it, by golden-section search."""
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(_HALVINGS):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if function(a) < function(b) else (a, high)
    return (low + high) / 2
