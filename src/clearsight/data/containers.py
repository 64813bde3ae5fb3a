"""Image files as containers: their format, their orientation, and the parts that a decoder needs.

A decoder gets only the parts that it needs for the pixels. Metadata (EXIF, text, colour profiles, further pages) is not
parsed, so it can neither make a good image fail nor make a library warn from a thread. Orientation is the one tag that
changes the image; it is read here, for every format in the same way.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

FORMATS = ("jpeg", "png", "webp", "bmp", "gif", "tiff")

_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little and big endian; 42 ("*") is classic, 43 ("+") Big TIFF
_HEADS: dict[str, bytes | tuple[bytes, ...]] = {
    "jpeg": b"\xff\xd8\xff",
    "png": b"\x89PNG\r\n\x1a\n",
    "bmp": b"BM",
    "gif": (b"GIF87a", b"GIF89a"),
    "tiff": _TIFF_HEADS,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StrippedImage:
    """Bytes of an image without metadata; they decode to the same pixels.

    orientation: the EXIF tag, 1 (upright) to 8.
    canvas: pixels that opening alone would make a decoder allocate (0 where opening allocates nothing).
    """

    data: bytes
    orientation: int = 1
    canvas: int = 0


def sniff(data: bytes) -> str | None:
    """Return the format by magic bytes, one of FORMATS, or None; 16 bytes are enough."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for kind, heads in _HEADS.items() if data.startswith(heads)), None)


def strip_metadata(data: bytes, kind: str) -> StrippedImage:
    """`data` of format `kind` without its metadata; raises ValueError or struct.error where its structure is broken."""
    if kind == "gif":
        return StrippedImage(data=data, canvas=_gif_canvas(data))
    strip = {"jpeg": _jpeg, "png": _png, "webp": _webp, "tiff": _tiff}.get(kind)
    return strip(data) if strip else StrippedImage(data=data)


def orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block (TIFF header and first directory), 1 when it is missing or damaged."""
    with contextlib.suppress(struct.error, ValueError):
        for entry in _directory(exif.removeprefix(b"Exif\0\0")):
            if entry.is_orientation:
                return entry.orientation
    return 1


def _jpeg(data: bytes) -> StrippedImage:
    """Drop comments and all APPn segments but APP0 (JFIF) and APP14 (Adobe: says how CMYK and RGB are stored)."""
    parts, exif_orientation, at = [data[:2]], 1, 2
    while at + 4 <= len(data) and data[at : at + 2] != b"\xff\xda":  # scan data follow: no segments to parse
        end = _segment_end(data, at)
        segment, marker = data[at:end], data[at + 1] if data[at] == 0xFF else 0
        if marker == 0xE1 and exif_orientation == 1 and segment[4:10] == b"Exif\0\0":  # APP1 may be XMP too
            exif_orientation = orientation(segment[4:])
        if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            parts.append(segment)
        at = end
    return StrippedImage(data=b"".join((*parts, data[at:])), orientation=exif_orientation)


def _segment_end(data: bytes, at: int) -> int:
    """Return where the segment at `at` ends; junk between segments ends where the next marker may be, as in Pillow."""
    if data[at] != 0xFF:
        end = data.find(b"\xff", at)
        return end if end > 0 else len(data)
    marker = data[at + 1]
    if marker == 0xFF:  # fill byte
        return at + 1
    if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD9:  # markers without a length
        return at + 2
    return at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))  # the length counts itself: at least 2


def _png(data: bytes) -> StrippedImage:
    """Keep the chunks that make pixels; an animation becomes its default image."""
    chunks, exif_orientation, at = [data[:8]], 1, 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length  # length, name and CRC are 4 bytes each
        if name == b"eXIf":
            exif_orientation = orientation(data[at + 8 : end - 4])
        # Pillow applies neither gAMA nor iCCP to the pixels, so nothing is lost with them.
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            chunks.append(data[at:end])
        at = end
    return StrippedImage(data=b"".join(chunks), orientation=exif_orientation)


def _webp(data: bytes) -> StrippedImage:
    exif_orientation, canvas, at = 1, 0, 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length]
        if name == b"EXIF":
            exif_orientation = orientation(body)
        canvas = canvas or _webp_canvas(name, body)
        at += 8 + length + length % 2  # RIFF pads chunks to even length
    return StrippedImage(data=data, orientation=exif_orientation, canvas=canvas)


def _webp_canvas(name: bytes, body: bytes) -> int:
    if name == b"VP8X" and len(body) >= 10:  # extended: width and height minus 1, 24 bits each
        return (1 + int.from_bytes(body[4:7], "little")) * (1 + int.from_bytes(body[7:10], "little"))
    if name == b"VP8L" and len(body) >= 5:  # lossless: minus 1 too, 14 bits each after a signature byte
        bits = int.from_bytes(body[1:5], "little")
        return (1 + (bits & 0x3FFF)) * (1 + (bits >> 14 & 0x3FFF))
    if name == b"VP8 " and len(body) >= 10:  # lossy: 14 bits each; the 2 above them ask for scaling
        width, height = struct.unpack_from("<HH", body, 6)
        return int(width & 0x3FFF) * int(height & 0x3FFF)
    return 0


def _gif_canvas(data: bytes) -> int:
    """Return the larger of logical screen and first frame's far corner: decoders enlarge the one to the other."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)  # header and global colour table, 3 bytes a colour
    while at < len(data) and data[at] == 0x21:  # extensions before the first frame
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    if data[at : at + 1] == b",":
        x, y, w, h = struct.unpack_from("<HHHH", data, at + 1)
        width, height = max(width, x + w), max(height, y + h)
    return int(width) * int(height)


# --- TIFF: the first directory, rewritten with only the tags that make pixels -------------------------------------

# Bytes of a value of each kind (BYTE, ASCII, SHORT, LONG, ...).
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_WIDTH, _LENGTH, _TILE_WIDTH, _TILE_LENGTH = 256, 257, 322, 323
# Tags of one value: size, compression, photometric, fill order, samples, rows per strip, planar, predictor, tile.
_ONE_VALUE = {_WIDTH, _LENGTH, 259, 262, 266, 277, 278, 284, 317, _TILE_WIDTH, _TILE_LENGTH}
# Tags of arrays: bits, strips, fax options, colour map, tiles, inks, extra samples, sample format, tables, YCbCr.
_ARRAYS = {258, 273, 279, 292, 293, 320, 324, 325, 332, 338, 339, 347, 529, 530, 531, 532}


@dataclass(frozen=True, slots=True)
class _Entry:
    tag: int
    kind: int
    count: int
    value: bytes  # the inline field: the values themselves, or the offset of them
    raw: bytes
    order: Literal["little", "big"]

    @property
    def number(self) -> int:
        """Return the value of a tag that has one."""
        return int.from_bytes(self.value[: _SIZES.get(self.kind, 0)], self.order)

    @property
    def size(self) -> int:
        return _SIZES.get(self.kind, 0) * self.count

    @property
    def is_orientation(self) -> bool:
        return self.tag == 0x0112 and self.kind == 3  # of EXIF and TIFF; its value is a SHORT

    @property
    def orientation(self) -> int:
        return self.number if 1 <= self.number <= 8 else 1  # cameras write 0 for unknown


def _directory(data: bytes) -> Iterator[_Entry]:
    """Yield the entries of the first directory of a classic or Big TIFF."""
    if not data.startswith(_TIFF_HEADS):
        raise ValueError("it has no TIFF header")
    order, big = "<" if data[:1] == b"I" else ">", 43 in data[2:4]
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    if at > len(data):
        raise ValueError("its directory lies outside of the file")
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    form = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    for _ in range(count):
        tag, kind, values, field = form.unpack_from(data, at)
        raw = data[at : at + form.size]
        yield _Entry(tag, kind, values, field, raw, "little" if order == "<" else "big")
        at += form.size


def _tiff(data: bytes) -> StrippedImage:
    inline, budget, exif_orientation = 8 if 43 in data[2:4] else 4, len(data), 1
    entries: dict[int, _Entry] = {}
    for entry in _directory(data):
        if entry.is_orientation:
            exif_orientation = entry.orientation
        is_needed = entry.tag in _ARRAYS or (entry.tag in _ONE_VALUE and entry.count == 1)
        if not is_needed or entry.kind not in _SIZES or entry.tag in entries:
            continue
        if entry.size > inline:  # together at most the file: overlapping arrays could ask for any amount of memory
            budget -= entry.size
            if budget < 0 or int.from_bytes(entry.value, entry.order) + entry.size > len(data):
                continue
        entries[entry.tag] = entry
    numbers = {tag: entry.number for tag, entry in entries.items()}
    # A decoder allocates a whole tile, however small the image in it is.
    sides = ((_WIDTH, _LENGTH), (_TILE_WIDTH, _TILE_LENGTH))
    canvas = max(numbers.get(width, 0) * numbers.get(length, 0) for width, length in sides)
    stripped = _rewritten(data, [entry.raw for entry in entries.values()])
    return StrippedImage(data=stripped, orientation=exif_orientation, canvas=canvas)


def _rewritten(data: bytes, entries: list[bytes]) -> bytes:
    """Return the file with its header pointing to a new last directory made of `entries`, which has no successor."""
    order, big = "<" if data[:1] == b"I" else ">", 43 in data[2:4]
    padded = data + bytes(-len(data) % 16)  # a directory begins at an even offset
    start = struct.pack(order + ("Q" if big else "I"), len(padded))
    head = data[: 8 if big else 4] + start
    count = struct.pack(order + ("Q" if big else "H"), len(entries))
    return head + padded[len(head) :] + count + b"".join(entries) + bytes(8 if big else 4)
