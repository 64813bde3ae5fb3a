"""An image file as it is: the decoder looks at its first bytes, whatever the Content-Type says."""

from __future__ import annotations

from clearsight.serving.codecs import npy
from clearsight.serving.payload import Payload


def read(body: bytes) -> Payload:
    """One encoded image.

    A body that is an NPY array is read as one: a SageMaker predictor that was told only `ContentType="image/png"`
    still wraps the file in its default NPY serialisation.
    """
    return npy.read(body) if body.startswith(npy.MAGIC) else Payload([body])
