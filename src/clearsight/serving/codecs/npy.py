"""NPY arrays (numpy.lib.format), read without numpy's loader.

The header is matched by pattern and never evaluated, object arrays and records are refused, and the shape it claims
is compared with the bytes received before any array is made: a false claim costs no memory.
"""

from __future__ import annotations

import io
import math
import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape, BadValue, EmptyInput
from clearsight.serving.payload import Payload, PredictionResponse

MAGIC = b"\x93NUMPY"

_LONGEST_HEADER = 4096  # bytes: numpy itself writes 118 for an image
_MOST_AXES = 4  # (N, H, W, 3)
_LARGEST = 1e6  # normalised pixels lie within about 10 of 0; far beyond, float32 sums overflow in the network
_DTYPE = re.compile(r"'descr':\s*'([<>|=]?([a-zA-Z])\d{1,9})'")  # bounded repetitions: no input makes matching slow
_ORDER = re.compile(r"'fortran_order':\s*(True|False)\b")
_SHAPE = re.compile(r"'shape':\s*\(([\d,\sL]{0,200})\)")
_ALLOWED = (
    "uint8 pixels (H, W, 3) or (N, H, W, 3)",
    "prepared floats (3, S, S) or (N, 3, S, S)",
    "the bytes of an image file",
)


def read(body: bytes) -> Payload:
    """Read pixels uint8 (H, W, 3) or (N, H, W, 3), prepared floats (3, S, S) or (N, 3, S, S), or encoded files.

    An encoded file comes as a 0-d bytes array (what SageMaker's default serialiser makes of it) or as 1-d uint8;
    a 1-d bytes array holds several. Raises BadValue for another file, BadShape, EmptyInput.
    """
    array = parse(body)
    if array.size == 0:
        raise EmptyInput(f"array {array.shape}", "it holds no image")
    match array.dtype.kind, array.ndim:
        case (("S" | "V"), 0):
            return Payload([array.tobytes()])
        case (("S" | "V"), 1):
            # numpy pads bytes to the longest.
            return Payload([item.tobytes().rstrip(b"\0") for item in array], batch=True)
        case "u", 1 if array.dtype == np.uint8:
            return Payload([array.tobytes()])
        case "u", 3 | 4 if array.dtype == np.uint8 and array.shape[-1] == 3:
            return Payload([array]) if array.ndim == 3 else Payload(list(array), batch=True)
        case "f", 3 | 4 if array.shape[-3] == 3:
            floats = bounded_floats(array)
            return Payload([floats]) if array.ndim == 3 else Payload(list(floats), batch=True)
    raise BadShape(f"array of {array.dtype} {array.shape}", "the endpoint does not read it", allowed=_ALLOWED)


def write(prediction: PredictionResponse) -> bytes:
    """Return the probabilities as float32 (N, C), also for a single image."""
    out = io.BytesIO()
    np.save(out, prediction.probabilities.astype(np.float32), allow_pickle=False)
    return out.getvalue()


def parse(body: bytes) -> npt.NDArray[Any]:
    """Return the array in an NPY file, as a read-only view of `body`.

    Raises BadValue for an incomplete file, BadShape for a type or a number of axes that no image has.
    """
    header, start = _header(body)
    kind, order, extent = _DTYPE.search(header), _ORDER.search(header), _SHAPE.search(header)
    if not (kind and order and extent):
        raise BadValue("NPY array", "its header is damaged, or it holds objects or records")
    shape = tuple(int(side) for side in re.findall(r"\d+", extent[1]))
    if kind[2] not in "SVuf" or len(shape) > _MOST_AXES:
        raise BadShape(f"array of {kind[1]} {shape}", "the endpoint does not read it", allowed=_ALLOWED)
    try:
        dtype = np.dtype(kind[1])
    except TypeError:
        raise BadValue("NPY array", f"its type {kind[1]!r} is unknown") from None
    # math.prod: Python integers do not overflow, as numpy's would for a hostile shape.
    promised, held = math.prod(shape) * dtype.itemsize, len(body) - start
    if promised != held:
        raise BadValue("NPY array", f"its header promises {promised} bytes of {dtype} {shape}, the body holds {held}")
    if promised == 0:
        raise EmptyInput(f"array {shape}", "it holds no image")
    flat = np.frombuffer(body, dtype, offset=start)
    return flat.reshape(shape, order="F" if order[1] == "True" else "C")


def _header(body: bytes) -> tuple[str, int]:
    """Return the text of the header and the offset of the data."""
    if len(body) < 12 or not body.startswith(MAGIC):
        raise BadValue("NPY array", "it does not begin like one", fix="Send what numpy.save writes.")
    start, form = (10, "<H") if body[6] == 1 else (12, "<I")  # version 1 has a length of two bytes
    length = struct.unpack_from(form, body, 8)[0]
    if body[6] not in (1, 2, 3) or length > _LONGEST_HEADER:
        raise BadValue("NPY array", "its header is damaged")
    return body[start : start + length].decode("latin-1"), start + length


def bounded_floats(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the array as float32; raises BadValue for values that no normalised pixel has."""
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinity, which is refused below
        floats = array.astype(np.float32)
    # Written so that NaN fails the check too.
    if not (np.abs(floats) <= _LARGEST).all():
        raise BadValue("prepared floats", f"some are not finite or beyond {_LARGEST:g}: no normalised pixel is")
    return floats
