"""Arrays from bodies of requests."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from sagemaker_inference import content_types, errors


def decode(obj: Any, content_type: str) -> np.ndarray:
    """Return the array of a body: JSON, CSV or npy. Raises UnsupportedFormatError for another type."""
    if content_type == content_types.JSON:
        return np.array(json.loads(_text(obj)))
    if content_type == content_types.CSV:
        return np.genfromtxt(io.StringIO(_text(obj)), dtype=np.float32, delimiter=",")
    if content_type == content_types.NPY:
        array: np.ndarray = np.load(io.BytesIO(obj), allow_pickle=False)
        return array
    raise errors.UnsupportedFormatError(content_type)


def _text(obj: Any) -> str:
    return obj.decode("utf-8") if isinstance(obj, bytes | bytearray) else obj
