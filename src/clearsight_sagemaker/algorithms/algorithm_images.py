"""Images of built-in algorithms: which there are, and the metrics that their logs have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

IMAGE_CLASSIFICATION = "image-classification"
_REPOSITORY = re.compile(r"(?:[^/]+/)*([^/:@]+)(?::[^/@]+)?(?:@.+)?")
# SageMaker gives these to every job of the algorithm; requests may not have others.
METRIC_DEFINITIONS = (
    {"Name": "train:accuracy", "Regex": r"Epoch\S* Train-accuracy=(\S*)"},
    {"Name": "validation:accuracy", "Regex": r"Epoch\S* Validation-accuracy=(\S*)"},
)


def built_in_algorithm(uri: str) -> str:
    """Return the name of the built-in algorithm of an image, "" for any other image."""
    found = _REPOSITORY.fullmatch(uri)
    return IMAGE_CLASSIFICATION if found is not None and found.group(1) == IMAGE_CLASSIFICATION else ""


def algorithm_of(request: Mapping[str, Any]) -> str:
    """Return the built-in algorithm that a training request names, "" for none."""
    return built_in_algorithm(request["AlgorithmSpecification"].get("TrainingImage") or "")
