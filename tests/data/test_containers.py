"""Metadata and sizes are read from an image file before a decoder sees it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clearsight.data.containers import orientation, sniff, strip_metadata


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


@pytest.fixture
def image(shared: Path) -> Image.Image:
    with Image.open(shared / "data/bad-inputs/good.jpg") as image:
        return image.convert("RGB")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "gif", "tiff"])
def test_sixteen_bytes_tell_the_format(image: Image.Image, kind: str) -> None:
    assert sniff(encoded(image, kind)[:16]) == kind


@pytest.mark.parametrize("data", [b"", b"RIFF....WAVE", b"<svg>", b"\xff\xd8", b"II+"])
def test_other_bytes_are_no_format(data: bytes) -> None:
    assert sniff(data) is None


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation_tag", range(1, 9))
def test_orientation_is_read_from_every_format_that_has_it(image: Image.Image, kind: str, orientation_tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation_tag
    data = encoded(image, kind, exif=exif)
    assert strip_metadata(data, kind).orientation == orientation_tag


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"MM\0*", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_means_upright(exif: bytes) -> None:
    assert orientation(exif) == 1


def test_impossible_orientation_means_upright() -> None:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 9, 0)
    assert orientation(b"II*\0\x08\0\0\0\x01\0" + entry) == 1


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_metadata_is_removed_and_pixels_stay(image: Image.Image, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a private remark"
    data = encoded(image, kind, exif=exif)
    stripped = strip_metadata(data, kind).data
    with Image.open(io.BytesIO(stripped)) as stripped_image, Image.open(io.BytesIO(data)) as original:
        np.testing.assert_array_equal(np.asarray(stripped_image), np.asarray(original))
        assert 0x010E not in stripped_image.getexif()


def test_gif_canvas_counts_what_the_first_frame_needs(image: Image.Image) -> None:
    data = bytearray(encoded(image.quantize(16), "gif"))
    offset = data.index(b",", 13 + 3 * 16)
    struct.pack_into("<HH", data, offset + 5, 60_000, 60_000)
    assert strip_metadata(bytes(data), "gif").canvas == 60_000**2


def test_tiff_canvas_counts_a_tile(image: Image.Image) -> None:
    width = struct.pack("<HHII", 322, 4, 1, 50_000) + struct.pack("<HHII", 323, 4, 1, 40_000)
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + width + bytes(4)
    assert strip_metadata(data, "tiff").canvas == 2_000_000_000


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_canvas_is_the_image(image: Image.Image, lossless: bool) -> None:
    assert strip_metadata(encoded(image, "webp", lossless=lossless), "webp").canvas == image.width * image.height
