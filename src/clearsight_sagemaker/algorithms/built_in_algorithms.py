"""Built-in algorithms: their images, the metrics that their logs have, and the program that trains."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

IMAGE_CLASSIFICATION = "image-classification"
_PACKAGES = Path(__file__).parents[2]
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


def algorithm_command(request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command that trains by a request of a built-in algorithm."""
    manifests = {
        entry["ChannelName"]: [source["S3Uri"].rpartition("/")[2], *source["AttributeNames"]]
        for entry in request.get("InputDataConfig") or ()
        if (source := entry["DataSource"].get("S3DataSource") or {}).get("AttributeNames")
    }
    # -P: no module of the working directory.
    words = (sys.executable, "-P", "-m", "clearsight_sagemaker.algorithms.image_classification")
    return (*words, "--manifests", json.dumps(manifests))


def algorithm_python_path(user: Mapping[str, str]) -> str:
    """Return PYTHONPATH of the command: the packages of this process alone. user: variables of this process."""
    return os.pathsep.join(filter(None, (str(_PACKAGES), user.get("PYTHONPATH", ""))))
