"""Decoding of image files to RGB pixels; the bytes are not trusted.

JPEG, PNG, WEBP, BMP, GIF (first frame) and TIFF (first page), by Pillow. It changes no global state and no warning
filter, so any number of threads may decode at once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from clearsight.core.dataset import Pixels
from clearsight.core.errors import BadImage
from clearsight.data.containers import FORMATS, sniff, strip_metadata

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


def decode(data: bytes | Pixels, *, max_pixels: int = MAX_PIXELS, name: str = "") -> Pixels:
    """Return upright RGB pixels, (H, W, 3) uint8.

    EXIF orientation is applied, transparency is laid on white, CMYK and palettes are resolved. 16-bit gray is scaled
    from its full range; floating-point and 32-bit gray from [0, 1], [0, 255] or [0, 65535], whichever holds its values,
    else from its own minimum and maximum. Arrays of pixels are checked and returned unchanged.
    name: of the image in errors.  max_pixels: limit on width x height, checked before memory is allocated.
    Raises BadImage for anything that is not a whole image of a known format.
    """
    if isinstance(data, np.ndarray):
        return _checked(data, max_pixels, name)
    image, info = _open(data, max_pixels, name)
    # Damaged floats: numpy would warn about signalling NaN.
    with _damage_as_bad_image(name, "its pixels cannot be decoded"), np.errstate(all="ignore"):
        pixels = _rgb(image, info.format)
    return np.ascontiguousarray(_UPRIGHT[info.orientation](pixels)) if info.orientation > 1 else pixels


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
    memory = count * (_MODE_BYTES.get(image.mode, 4) + _DECODER_BYTES.get(kind, 0) + 3 + turned) + len(data)
    return image, ImageInfo(width=width, height=height, format=kind, orientation=container.orientation, memory=memory)


def _limit(count: int, shown: str, max_pixels: int, name: str) -> None:
    if count > max_pixels:
        problem = f"it has {shown} pixels, the limit is {max_pixels:,}"
        raise BadImage(name or "image", problem, fix="Raise --max-pixels to read it.")


def _checked(pixels: npt.NDArray[np.generic], max_pixels: int, name: str) -> Pixels:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise BadImage(name or "image", f"pixels must be (H, W, 3) uint8, these are {pixels.shape} {pixels.dtype}")
    _limit(pixels.shape[0] * pixels.shape[1], f"{pixels.shape[1]} x {pixels.shape[0]}", max_pixels, name)
    return pixels.astype(np.uint8, copy=False)


def _rgb(image: ImageFile, kind: str) -> Pixels:
    """Return the pixels, converted in bands of rows: whole images of floats or with transparency cost ten times."""
    image.load()
    to_rgb = _conversion(image, kind)
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top, bottom in _bands(width, height):
        pixels[top:bottom] = to_rgb(image.crop((0, top, width, bottom)))
    return pixels


def _bands(width: int, height: int) -> Iterator[tuple[int, int]]:
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _conversion(image: ImageFile, kind: str) -> Callable[[Image.Image], Pixels]:
    """Return the function from a band of an image to its RGB pixels."""
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "png"):
        # 65535 / 255: white stays exactly 255. A PNG has at most 16 bits of gray, whatever mode Pillow holds them in.
        return lambda band: _spread(np.asarray(band).astype(np.float64) / 257.0)
    if image.mode in ("I", "F"):
        bottom, top = _range(image)
        return lambda band: _spread(_to_bytes(np.asarray(band).astype(np.float64), bottom, top))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_white
    return lambda band: np.asarray(band.convert("RGB"))


def _on_white(band: Image.Image) -> Pixels:
    layer = band if band.mode == "RGBA" else band.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return np.asarray(Image.alpha_composite(white, layer).convert("RGB"))


def _range(image: ImageFile) -> tuple[float, float]:
    """Return the values of black and white of gray: the smallest usual range that holds it, else its own.

    A fixed range where one fits: scaling each image by its own extremes would hide differences in brightness.
    """
    low, high = np.inf, -np.inf
    for top, bottom in _bands(*image.size):
        band = np.asarray(image.crop((0, top, image.width, bottom)))
        if (finite := band[np.isfinite(band)]).size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        raise ValueError("no value in it is a number")
    usual = next((top for top in (1.0, 255.0, 65535.0) if low >= 0 and high <= top), None)
    return (low, high) if usual is None else (0.0, usual)


def _to_bytes(values: npt.NDArray[np.float64], black: float, white: float) -> npt.NDArray[np.float64]:
    """Scale [black, white] to [0, 255]; what is no number is black."""
    values = np.nan_to_num(values, nan=black, posinf=white, neginf=black).clip(black, white)
    return (values - black) * (255.0 / (white - black)) if white > black else np.zeros_like(values)


def _spread(gray: npt.NDArray[np.float64]) -> Pixels:
    """Repeat (H, W) in [0, 255] to three equal channels."""
    return np.repeat(np.rint(gray).clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


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
