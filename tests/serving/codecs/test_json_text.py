"""JSON bodies and JSON responses."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadValue, ClearsightError, EmptyInput
from clearsight.serving.codecs import json_text
from clearsight.serving.payload import PredictionResponse
from clearsight.testing.serving import CodecContract, ResponseContract

IMAGE = bytes(range(256)) * 3


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


class TestRead(CodecContract):
    read = staticmethod(json_text.read)
    examples = (
        (body({"image": b64(IMAGE)}), 1),
        (body({"images": [b64(IMAGE)] * 3}), 3),
        (body({"instances": [{"image": {"b64": b64(IMAGE)}}, {"b64": b64(IMAGE)}]}), 2),
    )


def parse(text: bytes) -> npt.NDArray[np.float64]:
    value = json.loads(text)
    return np.array([list(entry["probabilities"].values()) for entry in value.get("predictions", [value])])


class TestWrite(ResponseContract):
    write = staticmethod(json_text.write)
    parse = staticmethod(parse)


@pytest.mark.parametrize(
    "value",
    [
        {"image": b64(IMAGE)},
        {"image": "data:image/jpeg;base64," + b64(IMAGE)},
        {"image": base64.urlsafe_b64encode(IMAGE).decode()},
        {"image": base64.encodebytes(IMAGE).decode()},  # a line break every 76 characters
        {"image": {"b64": b64(IMAGE)}},
        b64(IMAGE),
        json.dumps(b64(IMAGE)),  # serialised twice
    ],
)
def test_one_image_in_all_its_spellings(value: Any) -> None:
    payload = json_text.read(body(value))
    assert payload.images == [IMAGE]
    assert not payload.batch


def test_a_list_of_one_is_still_a_list() -> None:
    assert json_text.read(body({"images": [b64(IMAGE)]})).batch


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"{", "body: it is not JSON"),
        (b"\xff\xfe\x00", "body: it is not JSON"),
        (b"[" * 4000, "body: it is not JSON"),
        (b"1" * 5000, "none of the accepted forms"),
        (b"[[1,2],[3,4]]", "none of the accepted forms"),
        (b'{"photo": "abc"}', "none of the accepted forms"),
        (b'{"image": 7}', '"image": an image must be a base64 text, not int'),
        (b'{"image": "***"}', '"image": it is not base64'),
        (b'{"image": "abcde"}', '"image": it is not base64'),
        (b'{"image": "b\'aGk=\'"}', "printed form of Python bytes"),
        ('{"image": "é"}'.encode(), '"image": it is not base64'),
        (b'{"image": "\\ud800"}', '"image": it is not base64'),
        (b'{"image": "data:image/png,abc"}', "data:image/jpeg;base64,"),
        (b'{"images": ["aGk=", {"b64": null}]}', r'"images"\[1\]: an image must be a base64 text'),
        (b'{"image": ' + b'{"b64": ' * 900 + b'"aGk="' + b"}" * 901, "an image must be a base64 text, not dict"),
        (b"[" + b"0," * 5000 + b"0]", "it holds more than 4096 JSON values"),
    ],
)
def test_a_malformed_body_is_refused_with_the_reason(text: bytes, sentence: str) -> None:
    with pytest.raises(BadValue, match=sentence):
        json_text.read(text)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(EmptyInput, match='"images": the list is empty'):
        json_text.read(b'{"images": []}')


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["image", "images", "instances", "b64", "x"]), x),
    )
)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        assert json_text.read(body(value)).images
    except ClearsightError as error:
        refused = str(error)
        assert refused


def test_a_response_is_ranked_with_class_names() -> None:
    prediction = PredictionResponse(classes=("cat", "chien", "犬"), probabilities=np.array([[0.25, 0.25, 0.5]]), top=2)
    text = json_text.write(prediction)
    assert json.loads(text) == {
        "label": "犬",
        "probability": 0.5,
        "probabilities": {"cat": 0.25, "chien": 0.25, "犬": 0.5},
        "top": [{"label": "犬", "probability": 0.5}, {"label": "cat", "probability": 0.25}],
    }
    assert "犬" in text.decode()
