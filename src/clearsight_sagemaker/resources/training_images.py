"""Images of training containers: those with PyTorch run on this machine, others are refused by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clearsight_sagemaker.protocols.errors import ServiceError, validation_error

_REPOSITORY = re.compile(r"(?:[^/]+/)*([^/:@]+)(?::([^/@]+))?(?:@.+)?")
_VERSION = re.compile(r"(\d+(?:\.\d+)*)")
_PYTHON = re.compile(r"py(\d)(\d*)")


@dataclass(frozen=True, kw_only=True)
class TrainingImage:
    """A PyTorch image. framework, python: versions, "" where the tag has none.  gpu: asked for by the tag."""

    name: str
    framework: str
    python: str
    gpu: bool


def training_image(uri: str) -> TrainingImage:
    """Return the image of a URI; raises ServiceError for one that does not hold PyTorch."""
    found = _REPOSITORY.fullmatch(uri)
    name, tag = (found.group(1), found.group(2) or "") if found else (uri, "")
    if "pytorch" not in name.split("-"):
        raise _refused(uri, name)
    version, python = _VERSION.match(tag), _PYTHON.search(tag)
    return TrainingImage(
        name=name,
        framework=version.group(1) if version else "",
        python=".".join(filter(None, python.groups())) if python else "",
        gpu="gpu" in tag.split("-"),
    )


def _refused(uri: str, name: str) -> ServiceError:
    return validation_error(
        f"The local service runs training jobs of PyTorch images and of image-classification, and {name} is neither"
        f" ({uri}). Containers are not started on this machine; use an estimator of sagemaker.pytorch."
    )
