"""Event messages: a tensor with its name, mode and steps, as TensorBoard's protocol buffer `Event`.

Event    1 wall_time (float64)  2 step  5 summary
Summary  1 value: 1 tag  2 simple_value (float32)  5 histo  8 tensor  9 metadata
metadata 1 plugin_data: 1 plugin_name  2 content       `mode_step` and `mode` as text
tensor   1 dtype  2 shape (2 dim: 1 size  2 name)  4 elements  8 texts
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from smdebug.core import wire_format as wire
from smdebug.core.modes import MODE_PLUGIN_NAME, MODE_STEP_PLUGIN_NAME, ModeKeys
from smdebug.exceptions import CorruptFile, SMDebugTypeError

_DTYPES: dict[str, int] = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "uint16": 17,
    "complex128": 18,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}
_DTYPE_NAMES = {number: name for name, number in _DTYPES.items()}
_TEXT_DTYPE = 7


@dataclass(frozen=True)
class SavedEvent:
    """A tensor of an event. value: array of any shape.  wall_time: seconds since 1970."""

    tag: str
    value: np.ndarray
    step: int
    mode: ModeKeys
    mode_step: int
    wall_time: float


def encode_event(event: SavedEvent) -> bytes:
    """Return the message of a tensor. Raises SMDebugTypeError for elements that are no numbers or texts."""
    metadata = b"".join(
        wire.bytes_field(1, wire.bytes_field(1, name.encode()) + wire.bytes_field(2, content.encode()))
        for name, content in (
            (MODE_STEP_PLUGIN_NAME, str(event.mode_step)),
            (MODE_PLUGIN_NAME, str(event.mode.value)),
        )
    )
    tensor = _encode_tensor(event.tag, event.value)
    value = wire.bytes_field(1, event.tag.encode()) + wire.bytes_field(8, tensor) + wire.bytes_field(9, metadata)
    return _wrap(value, event.step, event.wall_time)


def encode_scalar(tag: str, value: float, step: int, wall_time: float) -> bytes:
    """Return the message of a number, as TensorBoard plots it."""
    return _wrap(wire.bytes_field(1, tag.encode()) + wire.float_field(2, value), step, wall_time)


def encode_histogram(tag: str, value: np.ndarray, step: int, wall_time: float, bins: int = 64) -> bytes:
    """Return the message of a histogram of the finite elements, of which there must be one at least."""
    elements = np.asarray(value, dtype=np.float64).reshape(-1)
    elements = elements[np.isfinite(elements)]
    counts, edges = np.histogram(elements, bins=bins)
    histogram = b"".join(
        (
            wire.double_field(1, float(elements.min())),
            wire.double_field(2, float(elements.max())),
            wire.double_field(3, float(elements.size)),
            wire.double_field(4, float(elements.sum())),
            wire.double_field(5, float(np.square(elements).sum())),
            wire.packed_doubles_field(6, edges[1:].tolist()),
            wire.packed_doubles_field(7, counts.astype(float).tolist()),
        )
    )
    return _wrap(wire.bytes_field(1, tag.encode()) + wire.bytes_field(5, histogram), step, wall_time)


def encode_file_version(wall_time: float) -> bytes:
    """Return the message with which TensorBoard wants a file to begin."""
    return wire.double_field(1, wall_time) + wire.bytes_field(3, b"brain.Event:2")


def decode_event(message: bytes) -> list[SavedEvent]:
    """Return the tensors of a message; none for numbers, histograms and what other programs add. Raises CorruptFile."""
    content = dict(wire.fields(message))
    step = content.get(2, 0)
    wall_time = _double(content.get(1, bytes(8)))
    values = [value for field, value in wire.fields(_bytes(content.get(5, b""))) if field == 1]
    return [
        event
        for value in values
        if (event := _decode_value(_bytes(value), wire.signed(_int(step)), wall_time)) is not None
    ]


def _wrap(value: bytes, step: int, wall_time: float) -> bytes:
    summary = wire.bytes_field(1, value)
    return wire.double_field(1, wall_time) + wire.varint_field(2, step) + wire.bytes_field(5, summary)


def _encode_tensor(tag: str, value: np.ndarray) -> bytes:
    sizes = b"".join(
        wire.bytes_field(2, wire.varint_field(1, size) + wire.bytes_field(2, f"{tag}_{size}".encode()))
        for size in value.shape
    )
    shape = wire.bytes_field(2, sizes)
    if value.dtype.kind in "USO":
        texts = [item if isinstance(item, bytes) else str(item).encode() for item in value.reshape(-1).tolist()]
        return shape + b"".join(wire.bytes_field(8, text) for text in texts)
    if value.dtype.name not in _DTYPES:
        raise SMDebugTypeError(f"{tag}: elements of type {value.dtype.name} cannot be saved.")
    elements = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).tobytes()
    return wire.varint_field(1, _DTYPES[value.dtype.name]) + shape + wire.bytes_field(4, elements)


def _decode_value(value: bytes, step: int, wall_time: float) -> SavedEvent | None:
    content = dict(wire.fields(value))
    if 8 not in content:
        return None
    entries: dict[str, str] = {}
    for field, plugin in wire.fields(_bytes(content.get(9, b""))):
        if field == 1:
            texts = dict(wire.fields(_bytes(plugin)))
            entries[_text(texts.get(1, b""))] = _text(texts.get(2, b""))
    try:
        mode = ModeKeys(int(entries.get(MODE_PLUGIN_NAME, ModeKeys.GLOBAL.value)))
        mode_step = int(entries.get(MODE_STEP_PLUGIN_NAME, step))
    except ValueError as error:
        raise CorruptFile(f"event: its mode is not one of smdebug ({error}).") from None
    return SavedEvent(_text(content.get(1, b"")), _decode_tensor(_bytes(content[8])), step, mode, mode_step, wall_time)


def _decode_tensor(tensor: bytes) -> np.ndarray:
    content: dict[int, Any] = {}
    texts: list[str] = []
    for field, value in wire.fields(tensor):
        content[field] = value
        if field == 8:
            texts.append(_text(value))
    dimensions = [_bytes(size) for field, size in wire.fields(_bytes(content.get(2, b""))) if field == 2]
    shape = tuple(wire.signed(_int(dict(wire.fields(size)).get(1, 0))) for size in dimensions)
    dtype = content.get(1, 0)
    elements = _bytes(content.get(4, b""))
    try:
        if 4 not in content and (texts or dtype in (0, _TEXT_DTYPE)):
            return np.array(texts).reshape(shape)
        name = _DTYPE_NAMES[dtype]
        return np.frombuffer(elements, dtype=np.dtype(name).newbyteorder("<")).astype(name).reshape(shape)
    except (KeyError, ValueError) as error:
        raise CorruptFile(f"tensor: {len(elements)} bytes of type {dtype} do not have shape {shape}.") from error


def _double(value: int | bytes) -> float:
    if not isinstance(value, bytes) or len(value) != 8:
        raise CorruptFile("event: its time is no float64.")
    return float(struct.unpack("<d", value)[0])


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise CorruptFile("event: a number stands where a message is expected.")
    return value


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise CorruptFile("event: bytes stand where a number is expected.")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode("utf-8", errors="replace")
