"""Bytes of an image file to RGB pixels, distrusting the bytes.

JPEG, PNG, WEBP, BMP, GIF (first frame) and TIFF (first page), by Pillow. Nothing global is touched and no warning
filter is changed, so any number of threads may decode at once.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from clearsight.core.dataset import Pixels
from clearsight.core.errors import BadImage
from clearsight.data.containers import FORMATS, strip_metadata
from clearsight.data.containers import sniff as sniff

MAX_PIXELS = 50_000_000

# Plugins are called directly: Image.open would check its own limit, process-wide, and warn from this thread.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfo:
    """What the header says. width, height: pixels of the upright image, as `decode` returns it.

    format: one of jpeg, png, webp, bmp, gif, tiff. orientation: EXIF tag, 1 (stored upright) to 8. mode: Pillow's word.
    """

    width: int
    height: int
    format: str
    orientation: int
    mode: str


def decode(data: bytes | Pixels, *, max_pixels: int = MAX_PIXELS, name: str = "") -> Pixels:
    """Upright RGB pixels, (H, W, 3) uint8.

    EXIF orientation is applied, transparency is laid on white, CMYK and palettes are resolved. 16-bit gray is scaled
    from its full range; floating-point and 32-bit gray from [0, 1], [0, 255] or [0, 65535], whichever holds its values,
    else from its own minimum and maximum. Pixels pass through after a check.
    name: how the error calls the image.  max_pixels: limit on width x height, held before memory is taken.
    Raises BadImage for anything that is not a whole image of a known format.
    """
    if isinstance(data, np.ndarray):
        return _checked(data, max_pixels, name)
    image, info = _open(data, max_pixels, name)
    try:
        with np.errstate(all="ignore"):  # damaged floats: numpy would warn about signalling NaN
            pixels = _rgb(image, info.format)
    except Exception as error:  # Pillow raises a dozen kinds on damaged data; each of them means this one thing
        raise BadImage(name or "image", f"its pixels cannot be decoded ({_reason(error)})") from error
    return _upright(pixels, info.orientation)


def inspect(data: bytes, *, max_pixels: int = MAX_PIXELS, name: str = "") -> ImageInfo:
    """What the header says, without decoding pixels; raises BadImage as `decode` does for what a header can show."""
    return _open(data, max_pixels, name)[1]


def _open(data: bytes, max_pixels: int, name: str) -> tuple[ImageFile.ImageFile, ImageInfo]:
    kind = sniff(data)
    if kind is None:
        raise BadImage(name or "image", f"{_foreign(data)}", fix=f"Known formats are {', '.join(FORMATS)}.")
    try:
        container = strip_metadata(data, kind)
        _limit(container.canvas, f"{container.canvas:,}", max_pixels, name)
        image = _PLUGINS[kind](io.BytesIO(container.data))
    except BadImage:
        raise
    except Exception as error:
        raise BadImage(name or "image", f"its {kind} header is damaged ({_reason(error)})") from error
    width, height = image.size
    _limit(width * height, f"{width} x {height}", max_pixels, name)
    if container.orientation > 4:
        width, height = height, width
    info = ImageInfo(width=width, height=height, format=kind, orientation=container.orientation, mode=image.mode)
    return image, info


def _limit(count: int, shown: str, max_pixels: int, name: str) -> None:
    if count > max_pixels:
        raise BadImage(
            name or "image", f"it has {shown} pixels, the limit is {max_pixels:,}", fix="Raise --max-pixels to read it."
        )


def _checked(pixels: npt.NDArray[np.generic], max_pixels: int, name: str) -> Pixels:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise BadImage(name or "image", f"pixels must be (H, W, 3) uint8, these are {pixels.shape} {pixels.dtype}")
    _limit(pixels.shape[0] * pixels.shape[1], f"{pixels.shape[1]} x {pixels.shape[0]}", max_pixels, name)
    return pixels.astype(np.uint8, copy=False)


def _rgb(image: ImageFile.ImageFile, kind: str) -> Pixels:
    image.load()
    mode = image.mode
    if mode.startswith("I;16"):
        return _spread(np.asarray(image).astype(np.float64) / 257.0)
    if mode in ("I", "F"):
        values = np.asarray(image).astype(np.float64)
        return _spread(values / 257.0 if kind == "png" else _to_byte_range(values))
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return np.array(_on_white(image))
    return np.array(image.convert("RGB"))


def _on_white(image: Image.Image) -> Image.Image:
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _to_byte_range(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gray of unknown range to [0, 255]: the smallest usual range that holds it, else its own."""
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("no value in it is a number")
    low, high = float(values[finite].min()), float(values[finite].max())
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    for top in (1.0, 255.0, 65535.0):
        if low >= 0 and high <= top:
            return values * (255.0 / top)
    return (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)


def _spread(gray: npt.NDArray[np.float64]) -> Pixels:
    """(H, W) in [0, 255] to three equal channels."""
    return np.repeat(np.rint(gray).clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    match orientation:
        case 2:
            turned = pixels[:, ::-1]
        case 3:
            turned = pixels[::-1, ::-1]
        case 4:
            turned = pixels[::-1]
        case 5:
            turned = pixels.transpose(1, 0, 2)
        case 6:
            turned = np.rot90(pixels, -1)
        case 7:
            turned = pixels.transpose(1, 0, 2)[::-1, ::-1]
        case 8:
            turned = np.rot90(pixels)
        case _:
            return pixels
    return np.ascontiguousarray(turned)


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words[:120]


def _foreign(data: bytes) -> str:
    """What bytes of no known format seem to be."""
    if not data:
        return "the file is empty"
    head = data[:512].lstrip().lower()
    if b"<svg" in head:
        return "it is an SVG drawing, not a raster image"
    if head.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, not an image"
    if data[4:8] == b"ftyp":
        return f"it is an {data[8:12].decode('ascii', 'replace').strip().upper()} file, which is not read"
    if head.startswith(b"%pdf"):
        return "it is a PDF document, not an image"
    if data.startswith(b"\x00\x05\x16\x07"):
        return "it is an AppleDouble side file that macOS writes, not an image"
    text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:64])
    return "it is text, not an image" if text else "its first bytes are those of no known image format"
