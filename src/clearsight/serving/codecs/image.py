"""Encoded image files: the decoder detects the format by the first bytes, whatever the Content-Type says."""

from __future__ import annotations

from clearsight.serving.codecs import npy
from clearsight.serving.payload import Payload


def read(body: bytes) -> Payload:
    """Return the one encoded image.

    A body that is an NPY array is read as such: a SageMaker predictor with `ContentType="image/png"` alone wraps the
    file in its default NPY serialisation.
    """
    return npy.read(body) if body.startswith(npy.MAGIC) else Payload([body])
