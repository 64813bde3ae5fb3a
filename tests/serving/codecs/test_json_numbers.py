"""Arrays of numbers in JSON: the model's own input as clients write a numpy array."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadShape, BadValue
from clearsight.serving.codecs import json_numbers as codec
from clearsight.serving.codecs import json_text
from clearsight.testing.serving import CodecContract

FLOATS = np.linspace(-2, 2, 3 * 6 * 6, dtype=np.float32).reshape(3, 6, 6)


class TestRead(CodecContract):
    read = staticmethod(codec.read)
    examples = (
        (json.dumps(FLOATS.tolist()).encode(), 1),
        (json.dumps({"inputs": np.stack([FLOATS] * 3).tolist()}).encode(), 3),
        (json.dumps({"instances": [FLOATS.tolist()]}, indent=1).encode(), 1),
    )


@given(st.integers(1, 3), st.integers(1, 9), st.booleans(), st.integers(0, 2**32 - 1))
def test_arrays_come_back_equal(images: int, side: int, wrapped: bool, seed: int) -> None:
    array = np.random.default_rng(seed).normal(size=(images, 3, side, side)).astype(np.float32)
    body = json.dumps({"inputs": array.tolist()} if wrapped else array.tolist()).encode()
    payload = json_text.read(body)  # which knows them by their beginning
    np.testing.assert_array_equal(np.stack([np.asarray(image) for image in payload.images]), array)
    assert payload.batch


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 4, 4), (2, 1, 4, 4), (1, 1, 3, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadShape, match=r"Allowed: floats \(3, S, S\)"):
        json_text.read(json.dumps(np.ones(shape).tolist()).encode())


@pytest.mark.parametrize("text", [b"[[[1, x]]]", b"[[[1,,2]]]", b"[[[1e]]]", b'[[[1, "a"]]]', b"[[[1]]] []", b"[[[1]]"])
def test_what_is_no_array_is_refused_in_a_sentence(text: bytes) -> None:
    with pytest.raises((BadValue, BadShape)) as caught:
        json_text.read(text)
    assert "\n" not in str(caught.value)


def test_values_that_no_pixel_has_are_refused() -> None:
    with pytest.raises(BadValue, match="not finite or beyond"):
        json_text.read(json.dumps((FLOATS * 1e9).tolist()).encode())


def test_a_large_array_takes_a_few_times_its_text() -> None:
    body = json.dumps(np.random.default_rng(0).normal(size=(4, 3, 96, 96)).round(4).tolist()).encode()
    tracemalloc.start()
    json_text.read(body)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 6 * len(body)
