"""Bodies of responses from arrays."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from sagemaker_inference import content_types, errors


def encode(array_like: Any, content_type: str) -> str | bytes:
    """Return an array as a body: JSON, CSV or npy. Raises UnsupportedFormatError for another type."""
    if content_type == content_types.JSON:
        return json.dumps(array_like, default=_plain)
    if content_type == content_types.CSV:
        text = io.StringIO()
        np.savetxt(text, np.atleast_1d(np.asarray(array_like)), delimiter=",", fmt="%s")
        return text.getvalue()
    if content_type == content_types.NPY:
        body = io.BytesIO()
        np.save(body, np.asarray(array_like), allow_pickle=False)
        return body.getvalue()
    raise errors.UnsupportedFormatError(content_type)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else list(value)
