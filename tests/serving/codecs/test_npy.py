"""NPY bodies and NPY responses."""

from __future__ import annotations

import io
import struct
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clearsight.core.errors import BadShape, BadValue, ClearsightError, EmptyInput
from clearsight.serving.codecs import npy as codec
from clearsight.testing.serving import CodecContract, ResponseContract, npy_file

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
FLOATS = np.linspace(-2, 2, 3 * 6 * 6, dtype=np.float32).reshape(3, 6, 6)


class TestRead(CodecContract):
    read = staticmethod(codec.read)
    examples = (
        (npy_file(PIXELS), 1),
        (npy_file(np.stack([PIXELS, PIXELS])), 2),
        (npy_file(FLOATS), 1),
        (npy_file(np.stack([FLOATS] * 3)), 3),
        (npy_file(np.array(b"a file")), 1),
        (npy_file(np.array([b"a file", b"another"])), 2),
    )


def parse(body: bytes) -> npt.NDArray[np.float64]:
    return np.load(io.BytesIO(body), allow_pickle=False).astype(np.float64)


class TestWrite(ResponseContract):
    write = staticmethod(codec.write)
    parse = staticmethod(parse)


def with_header(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.dtype("<f4"), np.dtype(">f8"), np.float16]), arrays.array_shapes(max_dims=4)
    ),
    st.booleans(),
)
def test_reads_what_numpy_writes(array: npt.NDArray[Any], fortran: bool) -> None:
    np.testing.assert_array_equal(codec.parse(npy_file(np.asfortranarray(array) if fortran else array)), array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_reads_every_version_of_the_format(version: tuple[int, int]) -> None:
    out = io.BytesIO()
    np.lib.format.write_array(out, PIXELS, version=version)
    np.testing.assert_array_equal(codec.parse(out.getvalue()), PIXELS)


def test_pixels_and_floats_keep_their_types() -> None:
    assert codec.read(npy_file(PIXELS)).images[0].dtype == np.uint8
    doubles = codec.read(npy_file(FLOATS.astype(">f8"))).images[0]
    assert doubles.dtype == np.float32
    np.testing.assert_array_equal(doubles, FLOATS)


def test_a_batch_of_one_is_a_batch() -> None:
    assert codec.read(npy_file(FLOATS[None])).batch
    assert not codec.read(npy_file(FLOATS)).batch


@pytest.mark.parametrize("wrap", [np.array, np.void, lambda data: np.frombuffer(data, np.uint8)])
def test_a_wrapped_file_is_unwrapped(wrap: Any, photo: bytes) -> None:
    payload = codec.read(npy_file(np.asarray(wrap(photo))))
    assert payload.images == [photo]
    assert not payload.batch


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"\x93NUMPY", "does not begin like one"),
        (b"GIF89a" + bytes(20), "does not begin like one"),
        (b"\x93NUMPY\x07\x00" + bytes(20), "its header is damaged"),
        (b"\x93NUMPY\x01\x00\xff\xff" + bytes(20), "its header is damaged"),
        (with_header("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }"), "objects or records"),
        (with_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }"), "objects or records"),
        (with_header("__import__('os').system('true')"), "objects or records"),
        (with_header("{'descr': '<f3', 'fortran_order': False, 'shape': (3,), }"), "its type '<f3' is unknown"),
        (npy_file(PIXELS)[:-1], r"promises 60 bytes of uint8 \(5, 4, 3\), the body holds 59"),
        (npy_file(PIXELS) + b"\0", "the body holds 61"),
        (npy_file(np.full((3, 6, 6), np.nan)), "not finite"),
        (npy_file(np.full((3, 6, 6), 1e300)), "not finite or beyond 1e\\+06"),
    ],
)
def test_a_body_that_is_no_plain_array_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(BadValue, match=sentence):
        codec.read(body)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((2, 3, 4, 4, 1), np.float32),
        np.zeros((1,) * 30, np.uint8),
        np.zeros((), np.float32),
        np.array("text"),
    ],
)
def test_an_array_that_is_no_image_is_refused_with_the_shapes_that_are(array: npt.NDArray[Any]) -> None:
    with pytest.raises(BadShape, match=r"Allowed: uint8 pixels \(H, W, 3\)"):
        codec.read(npy_file(array))


@pytest.mark.parametrize("array", [np.zeros((0, 3, 4, 4), np.float32), np.zeros((0, 4, 3), np.uint8)])
def test_an_array_without_images_is_refused(array: npt.NDArray[Any]) -> None:
    with pytest.raises(EmptyInput):
        codec.read(npy_file(array))


def test_a_header_with_a_wrong_shape_allocates_no_memory() -> None:
    body = with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (4000000, 100000, 3), }", bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(BadValue, match="promises 1200000000000 bytes"):
            codec.read(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@given(st.text(max_size=80), st.text(st.characters(codec="ascii"), max_size=80), st.binary(max_size=40))
def test_any_header_is_read_or_refused(kind: str, shape: str, data: bytes) -> None:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}"
    try:
        assert codec.read(with_header(header, data, version=3)).images
    except ClearsightError as error:
        refused = str(error)
        assert refused
