"""Every kind of image becomes RGB pixels, and every kind of damage becomes a BadImage."""

from __future__ import annotations

import csv
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clearsight.core.errors import BadImage
from clearsight.data.decode import decode, inspect


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


@pytest.fixture(scope="module")
def bad(shared: Path) -> Path:
    return shared / "data" / "bad-inputs"


@pytest.fixture(scope="module")
def good(bad: Path) -> np.ndarray:
    return decode((bad / "good.jpg").read_bytes())


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


# --- the table of bad inputs


def test_every_bad_input_does_what_its_row_expects(bad: Path) -> None:
    with (bad / "manifest.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        data = (bad / row["file"]).read_bytes()
        if row["expected"] == "accept":
            pixels = decode(data, name=row["file"])
            info = inspect(data, name=row["file"])
            assert pixels.shape == (info.height, info.width, 3), row["file"]
            assert pixels.dtype == np.uint8
            assert pixels.flags.writeable
            assert pixels.flags.c_contiguous
        elif row["expected"] in ("reject", "skip"):
            with pytest.raises(BadImage) as error:
                decode(data, name=row["file"])
            assert str(error.value).startswith(row["file"] + ": ")
    assert len(rows) == 42


@pytest.mark.parametrize(
    ("file", "tolerance"),
    [
        *((file, 0) for file in ("image.tiff", "multipage.tif", "png_with_wrong_extension.jpg")),
        ("rgb16.png", 0.5),
        *((file, 4) for file in ("good.jpg", "progressive.jpg", "exif_orientation_6.jpg", "trailing_garbage.jpg")),
        *((file, 8) for file in ("cmyk.jpg", "image.webp", "animated.gif")),
    ],
)
def test_the_same_image_in_another_format_has_the_same_pixels(bad: Path, file: str, tolerance: float) -> None:
    original = decode((bad / "image.bmp").read_bytes())
    assert difference(decode((bad / file).read_bytes()), original) <= tolerance


@pytest.mark.parametrize("file", ["gray16.png", "float32.tif", "gray.jpg", "gray_alpha.png"])
def test_gray_of_any_depth_has_the_brightness_of_the_image(bad: Path, good: np.ndarray, file: str) -> None:
    gray = decode((bad / file).read_bytes())
    expected = np.asarray(Image.fromarray(good).convert("L"))
    assert difference(gray, np.repeat(expected[:, :, None], 3, axis=2)) < 4
    assert len(np.unique(gray)) > 100


def test_transparency_is_laid_on_white(bad: Path, good: np.ndarray) -> None:
    pixels = decode((bad / "alpha.png").read_bytes())
    assert (pixels[:, 0] == 255).all()
    assert difference(pixels[:, -1:], good[:, -1:]) < 3
    colour_key = encoded(Image.new("RGB", (8, 8), (10, 20, 30)), "png", transparency=(10, 20, 30))
    assert (decode(colour_key) == 255).all()


# --- values


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 10.0, 255.0], [0, 10, 255]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([-5.0, 0.0, 5.0], [0, 128, 255]),
        ([0.0, float("nan"), 1.0], [0, 0, 255]),
        ([7e6, 7e6, 7e6], [0, 0, 0]),
    ],
)
def test_float_gray_is_scaled_by_the_smallest_usual_range(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert decode(encoded(image, "tiff"))[0, :, 0].tolist() == expected


def test_float_gray_without_a_number_is_refused() -> None:
    image = Image.fromarray(np.full((2, 2), np.nan, dtype=np.float32))
    with pytest.raises(BadImage, match="number"):
        decode(encoded(image, "tiff"))


def test_int32_gray_is_scaled() -> None:
    image = Image.fromarray(np.array([[-100_000, 0, 100_000]], dtype=np.int32))
    assert decode(encoded(image, "tiff"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("orientation_tag", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_orientation_is_applied(kind: str, orientation_tag: int) -> None:
    upright = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
    back = {2: 0, 4: 1, 3: 3, 5: 5, 6: 2, 7: 6, 8: 4}  # the Transpose that undoes what the tag asks for
    stored = Image.fromarray(upright)
    if orientation_tag != 1:
        stored = stored.transpose(Image.Transpose(back[orientation_tag]))
    exif = Image.Exif()
    exif[0x0112] = orientation_tag
    data = encoded(stored, kind, exif=exif)
    np.testing.assert_array_equal(decode(data), upright)
    assert (inspect(data).width, inspect(data).height, inspect(data).orientation) == (3, 2, orientation_tag)


def test_pixels_pass_through_after_a_check(good: np.ndarray) -> None:
    assert decode(good) is good
    for wrong in (good[:, :, :2], good.astype(np.complex64), good[:0], good[None]):
        with pytest.raises(BadImage):
            decode(wrong)
    with pytest.raises(BadImage, match="limit"):
        decode(good, max_pixels=10)


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(lambda image: image.astype(np.uint16) * 257, id="16 bits"),
        pytest.param(lambda image: image.astype(np.int64), id="whole numbers"),
        pytest.param(lambda image: image / 255, id="numbers in 0 to 1"),
        pytest.param(lambda image: np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]), id="RGBA"),
        pytest.param(
            lambda image: np.dstack([image, np.full(image.shape[:2], 255)]).astype(np.uint16) * 257, id="RGBA, 16 bits"
        ),
    ],
)
def test_arrays_of_other_numbers_have_the_pixels_of_the_image(
    good: np.ndarray, stored: Callable[[np.ndarray], np.ndarray]
) -> None:
    np.testing.assert_array_equal(decode(stored(good)), good)


def test_gray_and_bool_arrays_become_rgb(good: np.ndarray) -> None:
    gray = good[:, :, 0]
    np.testing.assert_array_equal(decode(gray), np.repeat(gray[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(decode(gray > 99)[:, :, 1], np.where(gray > 99, 255, 0))


def test_a_transparent_array_is_laid_on_white(good: np.ndarray) -> None:
    clear = np.dstack([good, np.zeros(good.shape[:2], np.uint8)])
    assert decode(clear).min() == 255
    assert decode(clear.astype(np.uint16)).min() == 255


# --- values of more than 8 bits


@pytest.mark.parametrize("colour", [False, True], ids=["gray", "colour"])
@pytest.mark.parametrize("top", [255, 4095])
def test_a_range_of_values_becomes_black_to_white(good: np.ndarray, top: int, colour: bool) -> None:
    shown = good if colour else good[:, :, :1]
    stored = np.rint(shown * (top / 255)).astype(np.uint16)
    expected = np.broadcast_to(shown, good.shape)
    for data in (stored, png16(stored)):
        pixels = decode(data, value_range=(0, top))
        np.testing.assert_allclose(pixels.astype(int), expected, atol=0 if top == 255 else 1)
        assert decode(data).max() <= top // 256 + 1  # by the full range of 16 bits it is black


def test_16_bit_colour_keeps_its_orientation_and_its_white(good: np.ndarray) -> None:
    white = np.full((9, 11, 3), 65535, np.uint16)
    assert decode(png16(white)).min() == 255
    halves = np.zeros((10, 10, 4), np.uint16)
    halves[:5] = 65535
    assert decode(png16(halves)).min() == 255  # black, and transparent: on white
    halves[:, :, 3] = 65535
    assert decode(png16(halves))[:, 0, 0].tolist() == [255] * 5 + [0] * 5


def test_values_outside_of_the_range_are_clipped_and_signed_ones_scaled() -> None:
    values = np.array([[-2000, -1000, 0, 1000, 3000, 9000]] * 8, np.int32)[:, :, None]
    assert decode(values, value_range=(-1000, 3000))[0, :, 0].tolist() == [0, 0, 64, 128, 255, 255]
    floats = np.array([[np.nan, -np.inf, np.inf, 0.5]], np.float32)[:, :, None]
    assert decode(floats, value_range=(0, 1))[0, :, 0].tolist() == [0, 0, 255, 128]


def test_a_range_of_values_leaves_8_bit_images_alone(bad: Path) -> None:
    data = (bad / "good.jpg").read_bytes()
    np.testing.assert_array_equal(decode(data, value_range=(0, 4095)), decode(data))


def png16(values: np.ndarray) -> bytes:
    """Return (H, W, C) uint16 of C 1, 3 or 4 as a PNG, which Pillow cannot write with colours."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


# --- damaged and hostile files


def test_the_limit_holds_before_decoding_and_names_the_size(bad: Path) -> None:
    data = (bad / "good.jpg").read_bytes()
    assert decode(data, max_pixels=96 * 72).shape == (72, 96, 3)
    for read in (decode, inspect):
        with pytest.raises(BadImage, match="96 x 72"):
            read(data, max_pixels=96 * 72 - 1)


def huge_gif_frame(image: Image.Image) -> bytes:
    data = bytearray(encoded(image.quantize(16), "gif"))
    struct.pack_into("<HH", data, data.index(b",", 13 + 3 * 16) + 5, 60_000, 60_000)
    return bytes(data)


def huge_webp(image: Image.Image) -> bytes:
    data = bytearray(encoded(image, "webp", lossless=True))
    offset = data.index(b"VP8L") + 9
    bits = int.from_bytes(data[offset : offset + 4], "little") | 0xFFFFFFF
    data[offset : offset + 4] = bits.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("damage", [huge_gif_frame, huge_webp])
def test_a_size_hidden_past_the_first_header_is_found(good: np.ndarray, damage: object) -> None:
    data = damage(Image.fromarray(good))  # type: ignore[operator]
    with pytest.raises(BadImage, match="limit"):
        decode(data)


def test_damaged_metadata_neither_fails_the_image_nor_warns(bad: Path, good: np.ndarray) -> None:
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x0e\x01\x02\0\xff\xff\0\0\xff\0\0\0" * 3
    jpeg = (bad / "good.jpg").read_bytes()
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken + jpeg[2:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(decode(data), good)


def test_threads_decode_what_one_decodes(bad: Path) -> None:
    files = [bad / name for name in ("good.jpg", "alpha.png", "image.tiff", "image.webp", "animated.gif")] * 10
    sequential = [decode(file.read_bytes()).tobytes() for file in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda file: decode(file.read_bytes()).tobytes(), files)) == sequential


FILES = ["good.jpg", "alpha.png", "palette_transparent.png", "image.tiff", "float32.tif", "image.webp", "animated.gif"]
FILES += ["image.bmp", "gray16.png", "exif_orientation_6.jpg", "bilevel.png", "cmyk.jpg", "multipage.tif"]


@pytest.mark.parametrize("file", FILES)
def test_mutated_files_decode_or_are_bad_images(bad: Path, file: str) -> None:
    original = (bad / file).read_bytes()

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(
        changes=st.lists(
            st.tuples(st.one_of(st.integers(0, 200), st.integers(0, len(original) - 1)), st.integers(0, 255)),
            min_size=1,
            max_size=8,
        ),
        keep=st.one_of(st.just(1.0), st.floats(0, 1)),
    )
    def check(changes: list[tuple[int, int]], keep: float) -> None:
        data = bytearray(original)
        for place, value in changes:
            data[place] = value
        data = data[: int(len(data) * keep)]
        try:
            pixels = decode(bytes(data), max_pixels=1_000_000)
        except BadImage as error:
            errors.append(error)
            return
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3

    errors: list[BadImage] = []
    check()
    warned = [error for error in errors if isinstance(error.__cause__, Warning)]
    assert not warned, "a warning of a library, which is an error in these tests, made an image bad"


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(data=st.binary(max_size=300), head=st.sampled_from([b"", b"\xff\xd8\xff", b"II*\0", b"GIF89a", b"BM"]))
def test_noise_is_a_bad_image(data: bytes, head: bytes) -> None:
    with pytest.raises(BadImage):
        decode(head + data)
