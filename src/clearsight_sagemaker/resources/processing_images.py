"""Images of processing jobs: those whose Python this machine has run, others are refused by name."""

from __future__ import annotations

import re

from clearsight_sagemaker.protocols.errors import validation_error

CLARIFY = "sagemaker-clarify-processing"
_REPOSITORY = re.compile(r"(?:[^/]+/)*([^/:@]+)(?::[^/@]+)?(?:@.+)?")
# Images of PyTorch, of scikit-learn, and of Python itself: their programs find the same packages on this machine.
_PACKAGES = ("pytorch", "scikit", "python")


def processing_image(uri: str) -> str:
    """Return the name of the image of a URI; raises ServiceError for one that cannot be run without its container."""
    found = _REPOSITORY.fullmatch(uri)
    name = found.group(1) if found else uri
    if name != CLARIFY and not {*_PACKAGES} & {*name.split("-")}:
        raise validation_error(
            f"The local service runs processing jobs of PyTorch, scikit-learn, Python and Clarify images, and {name} is"
            f" none ({uri}). Containers are not started on this machine; use a PyTorchProcessor, an SKLearnProcessor or"
            " a ScriptProcessor with one of these images."
        )
    return name
