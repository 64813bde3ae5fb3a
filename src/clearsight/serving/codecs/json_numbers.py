"""JSON arrays of floats, as clients write a numpy array: the model's own input, (3, S, S) or (N, 3, S, S).

A JSON parser makes an object of each number, 30 times its text. Here the text goes into one array.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape, BadValue
from clearsight.serving.codecs.npy import bounded_floats
from clearsight.serving.payload import Payload

_KEY = rb'(?:\{\s*"(?:inputs|instances)"\s*:\s*)?'
_BEGINNING = re.compile(_KEY + rb"\[\s*\[\s*\[[\s\[]*[-\d]")
_WHOLE = re.compile(_KEY + rb"(\[[\s\[]*[-\d][-+.,eE\d\s\[\]]*\])\s*\}?")
_HEAD = 4096  # bytes in which an array must begin
_PIECE = 1 << 16  # bytes of text
_LARGEST_SIDE = 2048
_FORMS = ("floats (3, S, S)", "floats (N, 3, S, S)")


def is_numbers(body: bytes) -> bool:
    """Return True for a list of numbers, alone or as "inputs" or "instances", by its first bytes."""
    return _BEGINNING.match(body[:_HEAD].lstrip()) is not None


def read(body: bytes) -> Payload:
    """Return the prepared images in {"inputs": array}, {"instances": array} or just array.

    Raises BadValue for anything but numbers in brackets, BadShape for other shapes.
    """
    found = _WHOLE.fullmatch(body.strip())
    if found is None:
        raise BadValue("body", "it begins like an array of numbers and holds something else", allowed=_FORMS)
    text = found[1]
    depth = len(text) - len(text.lstrip(b"[ \t\r\n"))
    depth = text[:depth].count(b"[")
    try:
        flat = _numbers(text.translate(None, b"[] \t\r\n"))
    except ValueError:
        raise BadValue("body", "it holds something that is no number", allowed=_FORMS) from None
    shape = _shape(depth, text.count(b"["), len(flat))
    if shape is None:
        raise BadShape(f"array of {len(flat)} numbers", "the endpoint does not read its shape", allowed=_FORMS)
    images = bounded_floats(flat.reshape(shape))
    return Payload([images[0]]) if depth == 3 else Payload(list(images), batch=True)


def _numbers(text: bytes) -> npt.NDArray[np.float32]:
    """Return the numbers between commas; raises ValueError. In pieces: numpy takes eight times the text of each."""
    if text.endswith(b",") or b",," in text:
        raise ValueError("a number is missing")
    pieces, start = [], 0
    while start < len(text):
        end = text.find(b",", start + _PIECE)
        end = len(text) if end < 0 else end
        pieces.append(np.loadtxt([text[start:end].decode("ascii")], np.float32, delimiter=",", comments=None, ndmin=1))
        start = end + 1
    return np.concatenate(pieces)


def _shape(depth: int, brackets: int, count: int) -> tuple[int, int, int, int] | None:
    """Return (N, 3, S, S) that has so many opening brackets and numbers; None where there is no such shape."""
    if depth not in (3, 4):
        return None
    for side in range(1, _LARGEST_SIDE + 1):
        images = count // (3 * side * side)
        if not images:
            return None
        lists = images * (4 + 3 * side) + (depth == 4)
        if images * 3 * side * side == count and lists == brackets and (depth == 4 or images == 1):
            return images, 3, side, side
    return None
