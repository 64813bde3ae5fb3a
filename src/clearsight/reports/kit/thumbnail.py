"""Thumbnails that live inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from clearsight.core.dataset import Pixels
from clearsight.core.errors import BadShape


def thumbnail(pixels: Pixels, size: int = 96) -> str:
    """Return the image as a JPEG data URI, its longer side at most `size` pixels. It is never enlarged.

    pixels: (H, W, 3) uint8 RGB; raises BadShape for anything else.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise BadShape("thumbnail", f"pixels must be (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    image = Image.fromarray(pixels)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # Quality 82 makes about 4 kB of 96 pixels: a gallery of 24 stays near 100 kB.
    image.save(stream, format="JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
