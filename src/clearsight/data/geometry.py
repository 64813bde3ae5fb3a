"""Preprocess applied: training, evaluation, serving and explanations turn images into numbers by this code alone.

It uses numpy and Pillow only. Random changes are in `augment`.
"""

from __future__ import annotations

import math
from typing import TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from clearsight.core.dataset import Pixels, StoredPixels
from clearsight.core.errors import BadShape, BadValue
from clearsight.core.preprocess import Interpolation, Preprocess
from clearsight.data.decode import MAX_PIXELS, decode

Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom in source pixels, fractions allowed

_FILTERS = {name: Image.Resampling[name.upper()] for name in get_args(Interpolation)}
_ROUNDING = 0.01  # of one byte: float32 keeps prepared numbers far more exactly
_WIDEST_FILTER = 3  # lanczos looks 3 source pixels (or 3 output pixels, when reducing) to each side


def crop(pixels: Pixels, preprocess: Preprocess) -> Pixels:
    """Crop (H, W, 3) uint8 to (S, S, 3) uint8: short side to `resize`, then the centre S = `size`.

    Done as one antialiased resize of the centre box in source coordinates, so the cost depends on the box and a
    2000 x 1 line never becomes 512000 x 256. The box is the one that torchvision's Resize + CenterCrop keep after
    their rounding to whole pixels: the images are equal up to one or two levels of 255, from fixed-point arithmetic.
    Raises BadShape when `pixels` is not (H, W, 3) uint8 with at least one pixel.
    """
    height, width = _extent(pixels)
    if height == width == preprocess.size == preprocess.resize:  # nothing to resample
        return np.ascontiguousarray(pixels)
    return resample(pixels, centre_box(height, width, preprocess), preprocess.size, preprocess.interpolation)


def centre_box(height: int, width: int, preprocess: Preprocess) -> Box:
    """Return the part of a `height` x `width` image that `crop` keeps; square but for the rounding of the long side."""
    short = min(height, width)
    # torchvision's Resize rounds the long side down, its CenterCrop rounds half to even: the same here.
    left, right = _centre(width, preprocess.resize * width // short, preprocess.size)
    top, bottom = _centre(height, preprocess.resize * height // short, preprocess.size)
    return left, top, right, bottom


def _centre(length: int, resized: int, size: int) -> tuple[float, float]:
    """Return the ends of the middle `size` of `resized` pixels, in the `length` pixels before resizing."""
    start = round((resized - size) / 2)
    return start * length / resized, (start + size) * length / resized


def resample(pixels: Pixels, box: Box, size: int, interpolation: Interpolation) -> Pixels:
    """Return the `box` of `pixels` (H, W, 3) uint8 as (size, size, 3) uint8, antialiased unless "nearest"."""
    height, width = _extent(pixels)
    left, right = _span(box[0], box[2], size, width)
    top, bottom = _span(box[1], box[3], size, height)
    # Pillow keeps boxes in float32: cutting first keeps coordinates small and exact, and copies only the pixels in use.
    image = Image.fromarray(pixels[top:bottom, left:right])
    # `min`: a rounding error beyond the edge would make Pillow refuse the box.
    inner = (box[0] - left, box[1] - top, min(box[2] - left, image.width), min(box[3] - top, image.height))
    return np.asarray(image.resize((size, size), _FILTERS[interpolation], box=inner))


def _span(start: float, stop: float, size: int, limit: int) -> tuple[int, int]:
    """Return whole source pixels that the widest filter can see from [start, stop), within [0, limit)."""
    reach = math.ceil(_WIDEST_FILTER * max(1.0, (stop - start) / size)) + 1
    return max(0, math.floor(start) - reach), min(limit, math.ceil(stop) + reach)


def shrink(pixels: Pixels, short: int, interpolation: Interpolation) -> Pixels:
    """Reduce the short side of (H, W, 3) uint8 to `short` at the same aspect ratio; smaller images are unchanged."""
    height, width = _extent(pixels)
    factor = short / min(height, width)
    if factor >= 1:  # enlarging would cost memory and add nothing
        return pixels
    target = (max(short, round(width * factor)), max(short, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(target, _FILTERS[interpolation]))


def scale_shift(preprocess: Preprocess) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return scale and shift, (3,) float32: `x * scale + shift` is the network's input for a byte x in [0, 255].

    These two operations in this order in float32 give the same bits on any device.
    """
    mean = np.asarray(preprocess.mean, dtype=np.float64)  # rounded to float32 once, at the end
    std = np.asarray(preprocess.std, dtype=np.float64)
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)


def normalise(batch: npt.NDArray[np.uint8], preprocess: Preprocess) -> npt.NDArray[np.float32]:
    """Normalise (N, S, S, 3) uint8 to (N, 3, S, S) float32, contiguous. Raises BadShape for anything else."""
    if batch.ndim != 4 or batch.shape[3] != 3 or batch.dtype != np.uint8:
        raise BadShape("batch", f"it is {batch.shape} {batch.dtype}; wanted (N, S, S, 3) uint8")
    scale, shift = scale_shift(preprocess)
    planes = batch.transpose(0, 3, 1, 2)
    numbers = np.empty(planes.shape, dtype=np.float32)
    # `out` avoids two temporary arrays as large as the batch.
    np.multiply(planes, scale[:, None, None], out=numbers)
    np.add(numbers, shift[:, None, None], out=numbers)
    return numbers


def denormalise(image: npt.NDArray[np.float32], preprocess: Preprocess) -> Pixels:
    """Return the pixels (S, S, 3) uint8 of a prepared image (3, S, S) float32.

    Raises BadValue where numbers are not those of bytes in [0, 255] up to rounding.
    """
    scale, shift = scale_shift(preprocess)
    numbers = (image.astype(np.float64) - shift[:, None, None]) / scale[:, None, None]
    bytes_ = np.clip(np.rint(np.nan_to_num(numbers)), 0, 255)
    if not (np.abs(numbers - bytes_) <= _ROUNDING).all():  # NaN too
        problem = "this network takes pixels, and its numbers are not those of pixels in 0 to 255"
        raise BadValue("prepared image", problem, fix="Send uint8 pixels or an image file.")
    return np.ascontiguousarray(bytes_.astype(np.uint8).transpose(1, 2, 0))


def prepare(
    raw: bytes | StoredPixels, preprocess: Preprocess, *, max_pixels: int = MAX_PIXELS, name: str = ""
) -> npt.NDArray[np.float32]:
    """Turn an encoded or decoded image into the network's input (3, S, S) float32; BadImage names `name`."""
    pixels = prepare_pixels(raw, preprocess, max_pixels=max_pixels, name=name)
    return cast(npt.NDArray[np.float32], normalise(pixels[None], preprocess)[0])


def prepare_pixels(
    raw: bytes | StoredPixels, preprocess: Preprocess, *, max_pixels: int = MAX_PIXELS, name: str = ""
) -> Pixels:
    """Turn an encoded or decoded image into pixels of the network's size, (S, S, 3) uint8; BadImage names `name`."""
    return crop(decode(raw, max_pixels=max_pixels, name=name, value_range=preprocess.value_range), preprocess)


def _extent(pixels: Pixels) -> tuple[int, int]:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise BadShape("pixels", f"they are {pixels.shape} {pixels.dtype}; wanted (H, W, 3) uint8, not empty")
    return pixels.shape[0], pixels.shape[1]
