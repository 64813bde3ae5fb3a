"""Decoding of image files to RGB pixels; the bytes are not trusted.

JPEG, PNG, WEBP, BMP, GIF (first frame) and TIFF (first page), by Pillow. It changes no global state and no warning
filter, so any number of threads may decode at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from clearsight.core.dataset import Pixels, StoredPixels
from clearsight.core.errors import BadImage
from clearsight.core.preprocess import ValueRange
from clearsight.data.containers import FORMATS, sniff, strip_metadata
from clearsight.data.wide_values import WideImage, full_scale

MAX_PIXELS = 50_000_000  # 150 MB of RGB for each thread that decodes; default of --max-pixels

# Plugins are called directly: Image.open would check its own limit, process-wide, and warn from this thread.
_PLUGINS: dict[str, type[ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
    "bmp": BmpImageFile,
    "gif": GifImageFile,
    "tiff": TiffImageFile,
}


_BAND_PIXELS = 1 << 18  # converted at a time
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}  # of a pixel in Pillow; 4 in other modes
_WIDE_BYTES = 22  # of a pixel of 16-bit colour, beside the image: a second one, and three arrays of values
# Of a pixel, beside the image: coefficients of a progressive JPEG, two canvases of WebP, a strip or tile of a TIFF.
_DECODER_BYTES = {"jpeg": 6, "webp": 8, "tiff": 8}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfo:
    """Header of an image file. width, height: pixels of the upright image, as `decode` returns it.

    format: one of jpeg, png, webp, bmp, gif, tiff. orientation: EXIF tag, 1 (stored upright) to 8.
    memory: bytes that `decode` takes at most, about.
    """

    width: int
    height: int
    format: str
    orientation: int
    memory: int = 0


def decode(
    data: bytes | StoredPixels, *, max_pixels: int = MAX_PIXELS, name: str = "", value_range: ValueRange | None = None
) -> Pixels:
    """Return upright RGB pixels, (H, W, 3) uint8.

    EXIF orientation is applied, transparency is laid on white, CMYK and palettes are resolved. Values of more than 8
    bits are scaled from `value_range`; without one, 16-bit values from 0 to 65535, and floating-point and 32-bit
    values from [0, 1], [0, 255] or [0, 65535], whichever holds those of the image, else from its own minimum and
    maximum. Arrays of pixels (see StoredPixels) follow the same rules.
    name: of the image in errors.  max_pixels: limit on width x height, checked before memory is allocated.
    Raises BadImage for anything that is not a whole image of a known format.
    """
    stored = decode_stored(data, max_pixels=max_pixels, name=name)
    return render(stored, value_range, name) if isinstance(stored, WideImage) else stored


def render(image: WideImage, value_range: ValueRange | None, name: str = "") -> Pixels:
    """Return the pixels of an image of more than 8 bits, as `decode` does."""
    with _damage_as_bad_image(name, "its pixels cannot be decoded"), np.errstate(all="ignore"):
        return image.pixels(value_range)


def decode_stored(data: bytes | StoredPixels, *, max_pixels: int = MAX_PIXELS, name: str = "") -> Pixels | WideImage:
    """Return the image as `decode` does, its values unscaled where they have more than 8 bits."""
    if isinstance(data, np.ndarray):
        return _checked(data, max_pixels, name)
    image, info = _open(data, max_pixels, name)
    upright = _UPRIGHT.get(info.orientation)
    # Damaged floats: numpy would warn about signalling NaN.
    with _damage_as_bad_image(name, "its pixels cannot be decoded"), np.errstate(all="ignore"):
        if (low_bytes := _low_bytes(image)) is not None:
            other = _PLUGINS[info.format](io.BytesIO(strip_metadata(data, info.format).data))
            other.tile = low_bytes
            wide = WideImage.of(np.asarray(image).astype(np.uint16) << 8 | np.asarray(other), 65535)
            return wide if upright is None else wide.turned(upright)
        stored = _rgb(image, info.format)
    if isinstance(stored, WideImage):
        return stored if upright is None else stored.turned(upright)
    return stored if upright is None else np.ascontiguousarray(upright(stored))


def inspect(data: bytes, *, max_pixels: int = MAX_PIXELS, name: str = "") -> ImageInfo:
    """Return the header without decoding pixels; raises BadImage as `decode` does for problems that a header shows."""
    return _open(data, max_pixels, name)[1]


def _open(data: bytes, max_pixels: int, name: str) -> tuple[ImageFile, ImageInfo]:
    kind = sniff(data)
    if kind is None:
        raise BadImage(name or "image", _describe_unknown(data), fix=f"Known formats are {', '.join(FORMATS)}.")
    with _damage_as_bad_image(name, f"its {kind} header is damaged"):
        container = strip_metadata(data, kind)
        _limit(container.canvas, f"{container.canvas:,}", max_pixels, name)  # before Pillow allocates it
        image = _PLUGINS[kind](io.BytesIO(container.data))
    width, height = image.size
    _limit(width * height, f"{width} x {height}", max_pixels, name)
    if container.orientation > 4:  # 5 to 8 turn by a quarter
        width, height = height, width
    count = max(width * height, container.canvas)
    turned = 3 if container.orientation > 1 else 0
    stored = _MODE_BYTES.get(image.mode, 4)
    copies = _WIDE_BYTES if _low_bytes(image) is not None else stored if image.mode[0] in "IF" else 0
    memory = count * (stored + copies + _DECODER_BYTES.get(kind, 0) + 3 + turned) + len(data)
    return image, ImageInfo(width=width, height=height, format=kind, orientation=container.orientation, memory=memory)


def _limit(count: int, shown: str, max_pixels: int, name: str) -> None:
    if count > max_pixels:
        problem = f"it has {shown} pixels, the limit is {max_pixels:,}"
        raise BadImage(name or "image", problem, fix="Raise --max-pixels to read it.")


def _checked(pixels: StoredPixels, max_pixels: int, name: str) -> Pixels | WideImage:
    values = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or values.dtype.kind not in "uifb" or not values.size:
        wanted = "(H, W, 3) or (H, W) numbers"
        raise BadImage(name or "image", f"pixels must be {wanted}, these are {pixels.shape} {pixels.dtype}")
    _limit(pixels.shape[0] * pixels.shape[1], f"{pixels.shape[1]} x {pixels.shape[0]}", max_pixels, name)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    if values.dtype != np.uint8:
        return WideImage.of(values, full_scale(values.dtype))
    if values.shape[2] == 4:
        return np.array(_on_white(Image.fromarray(values)))  # a copy: asarray is read-only
    return values if values.shape[2] == 3 else np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def _low_bytes(image: ImageFile) -> list[Any] | None:
    """Return tiles that read the lower bytes of 16-bit colour, of which Pillow reads the upper; None for others."""
    if image.mode not in ("RGB", "RGBA"):
        return None
    tiles = []
    for tile in image.tile:
        mode, *others = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        if mode not in _OTHER_BYTES:
            return None
        raw_mode = _OTHER_BYTES[mode]
        tiles.append(tile._replace(args=(raw_mode, *others) if others else raw_mode))
    return tiles or None


# "N": the machine's own order of bytes.
_SWAPPED = "B" if sys.byteorder == "little" else "L"
_OTHER_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _SWAPPED))
}


def _rgb(image: ImageFile, kind: str) -> Pixels | WideImage:
    image.load()
    mode = image.mode
    # A PNG has at most 16 bits of gray, whatever mode Pillow holds them in.
    if mode.startswith("I;16") or (mode == "I" and kind == "png"):
        return WideImage.of(np.asarray(image), 65535)
    if mode in ("I", "F"):
        return WideImage.of(np.asarray(image), None)
    to_rgb = _on_white if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info else _plain
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):  # bands of rows: a whole image with transparency costs ten times the memory
        bottom = min(top + rows, height)
        pixels[top:bottom] = to_rgb(image.crop((0, top, width, bottom)))
    return pixels


def _plain(band: Image.Image) -> Pixels:
    return np.asarray(band.convert("RGB"))


def _on_white(band: Image.Image) -> Pixels:
    layer = band if band.mode == "RGBA" else band.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return np.asarray(Image.alpha_composite(white, layer).convert("RGB"))


# From stored to upright pixels, by EXIF orientation; 2, 4, 5 and 7 are mirrored too.
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90,
}


@contextmanager
def _damage_as_bad_image(name: str, problem: str) -> Iterator[None]:
    try:
        yield
    except BadImage:
        raise
    except Exception as error:  # Pillow raises a dozen kinds on damaged data; all mean the same
        words = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(name or "image", f"{problem} ({words[:120]})") from error  # an error is one short line


def _describe_unknown(data: bytes) -> str:
    """Return a guess at the kind of bytes that are no known image."""
    if not data:
        return "the file is empty"
    head = data[:512].lstrip().lower()  # an SVG may start with an XML header and comments
    if b"<svg" in head:
        return "it is an SVG drawing, not a raster image"
    if head.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, not an image"
    if data[4:8] == b"ftyp":  # HEIC, AVIF, MP4: the brand follows
        return f"it is an {data[8:12].decode('ascii', 'replace').strip().upper()} file, which is not read"
    if head.startswith(b"%pdf"):
        return "it is a PDF document, not an image"
    if data.startswith(b"\x00\x05\x16\x07"):
        return "it is an AppleDouble side file that macOS writes, not an image"
    text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:64])
    return "it is text, not an image" if text else "its first bytes are those of no known image format"
