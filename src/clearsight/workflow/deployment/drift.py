"""Drift: whether the images that an endpoint gets are still like those that its model was validated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clearsight.core.bundle import Bundle
from clearsight.core.statistics import wilson

_IMAGES = 200  # of the endpoint: fewer say nothing
_REFERENCE = 30  # images of the validation split
_MIX = 0.2  # share of the predictions that are of other classes than validation has (total variation)
_CONFIDENCE = 0.1  # mean confidence below the accuracy on validation images


def drift(bundle: Bundle, classes: Sequence[int], confidence: float) -> str:
    """Return how the predictions of an endpoint differ from validation; "" for no difference that counts.

    classes: (C,) images by predicted class.  confidence: mean over the images. The class mix is compared with that of
    the validation labels; the mean confidence with the validation accuracy, which it equals where probabilities are
    calibrated (Guo et al. 2017, section 2). Both must exceed what chance makes of so many images.
    """
    images, expected = sum(classes), _validation(bundle)
    if images < _IMAGES or sum(expected) < _REFERENCE or len(classes) != len(expected):
        return ""
    sentences = [_mix(bundle.classes, np.asarray(classes, float), np.asarray(expected, float))]
    accuracy = _accuracy(bundle.scores)
    if accuracy is not None:
        low = wilson(round(accuracy * sum(expected)), sum(expected)).low
        if confidence < min(low, accuracy - _CONFIDENCE):
            sentences.append(f"the mean confidence is {confidence:.2f} where {accuracy:.2f} were right in validation")
    found = [sentence for sentence in sentences if sentence]
    return f"of {images:,} images {' and '.join(found)}" if found else ""


def _mix(names: Sequence[str], seen: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> str:
    shares, usual = seen / seen.sum(), expected / expected.sum()
    distance = float(np.abs(shares - usual).sum() / 2)
    # What samples of these sizes differ by on average: the sum over the classes of the standard errors.
    chance = float(np.sqrt(usual * (1 - usual) * (1 / seen.sum() + 1 / expected.sum())).sum() / 2)
    if distance < max(_MIX, 2 * chance):
        return ""
    most = int(np.argmax(np.abs(shares - usual)))
    return f"{shares[most]:.0%} are predicted as {names[most]}, which was {usual[most]:.0%} of validation"


def _validation(bundle: Bundle) -> list[int]:
    """Return the validation images of each class, in the order of the classes; zeros where they are not known."""
    counts = bundle.data.get("counts")
    valid = counts.get("valid") if isinstance(counts, Mapping) else None
    found = [valid.get(name, 0) for name in bundle.classes] if isinstance(valid, Mapping) else []
    return [count if isinstance(count, int) else 0 for count in found]


def _accuracy(scores: Mapping[str, Any]) -> float | None:
    valid = scores.get("valid")
    accuracy = valid.get("accuracy") if isinstance(valid, Mapping) else None
    return float(accuracy) if isinstance(accuracy, int | float) else None
