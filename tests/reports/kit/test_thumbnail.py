from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clearsight.core.errors import BadShape
from clearsight.reports.kit.thumbnail import thumbnail


def opened(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body, validate=True)))


def test_a_real_image_becomes_a_small_jpeg_of_the_same_shape(shared: Path) -> None:
    file = next((shared / "data" / "intel-scenes" / "seg_test" / "sea").iterdir())
    pixels = np.asarray(Image.open(file).convert("RGB"))
    uri = thumbnail(pixels)
    small = opened(uri)
    assert max(small.size) == 96
    assert len(uri) < 8_000
    wanted = np.asarray(Image.fromarray(pixels).resize(small.size, Image.Resampling.LANCZOS), dtype=float)
    assert abs(np.asarray(small, dtype=float) - wanted).mean() < 6


def test_it_never_enlarges_and_accepts_an_image_of_one_row() -> None:
    assert opened(thumbnail(np.zeros((32, 20, 3), np.uint8))).size == (20, 32)
    assert opened(thumbnail(np.zeros((1, 4000, 3), np.uint8), size=64)).size == (64, 1)


@pytest.mark.parametrize(
    ("shape", "kind"), [((4, 4), np.uint8), ((4, 4, 4), np.uint8), ((4, 4, 3), np.float32), ((0, 4, 3), np.uint8)]
)
def test_other_arrays_are_an_error(shape: tuple[int, ...], kind: type) -> None:
    with pytest.raises(BadShape, match=r"must be \(H, W, 3\) uint8"):
        thumbnail(np.zeros(shape, kind))
