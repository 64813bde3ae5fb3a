"""JSON: base64 images in, named probabilities out."""

from __future__ import annotations

import json
from typing import Any

from clearsight.core.errors import BadValue, EmptyInput
from clearsight.serving.codecs import json_numbers
from clearsight.serving.codecs.base64_text import decode
from clearsight.serving.payload import Image, Payload, PredictionResponse

_SHAPES = '{"image": base64}, {"images": [base64, ...]} or {"instances": [{"image": {"b64": base64}}, ...]}'
_MOST_VALUES = 4096  # commas and brackets: a small JSON value takes about 30 times its text in memory


def read(body: bytes) -> Payload:
    """Read {"image": p}, {"images": [p, ...]}, {"instances": [{"image": {"b64": p}}, ...]} or just p.

    p is base64 (standard or URL-safe alphabet, with or without padding, line breaks allowed) or a data: URL with it.
    Arrays of numbers are read as `json_numbers` says.
    Raises BadValue for anything else, EmptyInput for an empty list.
    """
    if json_numbers.is_numbers(body):
        return json_numbers.read(body)
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
        raise BadValue("body", f"it holds more than {_MOST_VALUES} JSON values", fix=f"Send {_SHAPES}.")
    try:
        # No accepted form has a number, and converting one of a million digits takes seconds.
        value = json.loads(body, parse_int=_no_number, parse_float=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadValue("body", f"it is not JSON ({error})", fix=f"Send {_SHAPES}.") from None
    match value:
        case str():
            # Clients that serialise a JSON text twice send two pairs of quotes.
            return Payload([_decode(value.strip().strip('"'), "the body")])
        case {"image": image}:
            return Payload([_decode(image, '"image"')])
        case {"images": [*images]}:
            return Payload(_decode_all(images, "images"), batch=True)
        case {"instances": [*images]}:
            return Payload(_decode_all(images, "instances"), batch=True)
    raise BadValue("body", f"it is JSON, but none of the accepted forms: {_SHAPES}")


def _no_number(text: str) -> int:
    return 0


def write(prediction: PredictionResponse) -> bytes:
    """Return the record of the one image, or {"predictions": [record, ...]} for a list."""
    records = prediction.records()
    value: Any = {"predictions": records} if prediction.batch else records[0]
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _decode_all(images: list[Any], key: str) -> list[Image]:
    if not images:
        raise EmptyInput(f'"{key}"', "the list is empty")
    return [_decode(image, f'"{key}"[{index}]') for index, image in enumerate(images)]


def _decode(value: Any, subject: str) -> Image:
    for key in ("image", "b64"):  # {"image": p}, {"b64": p} or {"image": {"b64": p}}
        value = value[key] if isinstance(value, dict) and key in value else value
    if not isinstance(value, str):
        raise BadValue(subject, f"an image must be a base64 text, not {type(value).__name__}")
    try:
        return decode(value.encode("ascii"), subject)
    except UnicodeEncodeError:
        raise BadValue(subject, "it is not base64", fix="Encode the bytes of the image file with base64.") from None
