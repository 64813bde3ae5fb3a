"""Augment, carried out: random changes to one training image, every random number from the generator it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from clearsight.core.dataset import Pixels
from clearsight.core.preprocess import Augment, Preprocess
from clearsight.data.geometry import Box, centre_box, resample

Fill: TypeAlias = tuple[int, int, int]  # RGB of what a moved image leaves uncovered

_VIEW_STREAM = 1  # first word of the seed, so that no other use of (seed, epoch, ...) draws the same numbers
_TRIES = 10
_STRONGEST = 30  # RandAugment's magnitude runs from 0 to this


def view_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of the view that sample `index` shows in `epoch`; each below 2**32."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((_VIEW_STREAM, seed, epoch, index))))


def augment(pixels: Pixels, how: Augment, preprocess: Preprocess, rng: np.random.Generator) -> Pixels:
    """(H, W, 3) uint8 to one random view (S, S, 3) uint8, C-contiguous; with `how` at its defaults exactly `crop`.

    In this order: random-resized crop, flip, rotation (uncovered corners filled by reflection), brightness, contrast
    and saturation in random order, RandAugment. The result depends on the arguments and the state of `rng` only.
    """
    height, width = pixels.shape[:2]
    whole = how.scale == (1.0, 1.0)
    box = centre_box(height, width, preprocess) if whole else random_box(height, width, how, rng)
    view = resample(pixels, box, preprocess.size, preprocess.interpolation)
    if how.flip and rng.random() < how.flip:
        view = view[:, ::-1]
    if how.rotate:
        view = rotated(view, rng.uniform(-how.rotate, how.rotate))
    if how.colour or how.operations:
        image = Image.fromarray(view)
        if how.colour:
            image = _jittered(image, how.colour, rng)
        if how.operations:
            image = rand_augment(image, how, _mean_colour(preprocess), rng)
        view = np.asarray(image)
    return np.ascontiguousarray(view)


def random_box(height: int, width: int, how: Augment, rng: np.random.Generator) -> Box:
    """A whole-pixel box with `how.scale` of the area and `how.ratio` of width to height (log-uniform).

    After ten boxes that do not fit, the largest centred one whose ratio is allowed.
    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 6; the draws as in torchvision's
    RandomResizedCrop.
    """
    low, high = math.log(how.ratio[0]), math.log(how.ratio[1])
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*how.scale)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    ratio = min(max(width / height, how.ratio[0]), how.ratio[1])
    across, down = min(width, height * ratio), min(height, width / ratio)
    return (width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2


def rotated(view: Pixels, degrees: float) -> Pixels:
    """(S, S, 3) uint8 turned about its centre, bilinear, corners filled with the reflected image."""
    size = view.shape[0]
    turn = math.radians(degrees)
    # Half of what the turned square needs beyond the square: at most (sqrt(2) - 1) / 2 of the side.
    margin = math.ceil(size / 2 * (abs(math.cos(turn)) + abs(math.sin(turn)) - 1)) + 1
    padded = np.pad(view, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    cos, sin, centre = math.cos(turn), math.sin(turn), size / 2
    # Where output pixel (x, y) comes from in `padded`: turned about the centre, which lies `margin` further there.
    matrix = (
        cos, -sin, margin + centre - cos * centre + sin * centre,
        sin, cos, margin + centre - sin * centre - cos * centre,
    )  # fmt: skip
    turned = Image.fromarray(padded).transform(
        (size, size), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR
    )
    return np.asarray(turned)


def _jittered(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    factors = rng.uniform(1 - strength, 1 + strength, size=len(kinds))
    for i in rng.permutation(len(kinds)):
        image = kinds[i](image).enhance(float(factors[i]))
    return image


def rand_augment(image: Image.Image, how: Augment, fill: Fill, rng: np.random.Generator) -> Image.Image:
    """`how.operations` operations drawn from OPERATIONS with replacement, each at `how.magnitude` of 30, either sign.

    Source: Cubuk et al. 2020, "RandAugment", section 3; the ranges are torchvision's. Unlike there, shears keep the
    centre in place and uncovered parts take the mean colour instead of black.
    """
    names = tuple(OPERATIONS)
    for i in rng.integers(len(names), size=how.operations):
        sign = 1 if rng.random() < 0.5 else -1
        image = OPERATIONS[names[i]](image, sign * how.magnitude / _STRONGEST, fill)
    return image


def _mean_colour(preprocess: Preprocess) -> Fill:
    red, green, blue = (min(255, max(0, round(255 * mean))) for mean in preprocess.mean)
    return red, green, blue


Operation: TypeAlias = Callable[[Image.Image, float, Fill], Image.Image]  # (image, level in [-1, 1], fill)


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: Fill) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR, fillcolor=fill
    )


def _shear_x(image: Image.Image, level: float, fill: Fill) -> Image.Image:
    slope = 0.3 * level
    return _affine(image, (1, slope, -slope * image.height / 2, 0, 1, 0), fill)


def _shear_y(image: Image.Image, level: float, fill: Fill) -> Image.Image:
    slope = 0.3 * level
    return _affine(image, (1, 0, 0, slope, 1, -slope * image.width / 2), fill)


def _translate_x(image: Image.Image, level: float, fill: Fill) -> Image.Image:
    return _affine(image, (1, 0, round(150 / 331 * image.width * level), 0, 1, 0), fill)


def _translate_y(image: Image.Image, level: float, fill: Fill) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, round(150 / 331 * image.height * level)), fill)


def _rotate(image: Image.Image, level: float, fill: Fill) -> Image.Image:
    return image.rotate(30 * level, Image.Resampling.BILINEAR, fillcolor=fill)


def _brightness(image: Image.Image, level: float, _: Fill) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1 + 0.9 * level)


def _saturation(image: Image.Image, level: float, _: Fill) -> Image.Image:
    return ImageEnhance.Color(image).enhance(1 + 0.9 * level)


def _contrast(image: Image.Image, level: float, _: Fill) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(1 + 0.9 * level)


def _sharpness(image: Image.Image, level: float, _: Fill) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(1 + 0.9 * level)


def _posterize(image: Image.Image, level: float, _: Fill) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(4 * abs(level)))


def _solarize(image: Image.Image, level: float, _: Fill) -> Image.Image:
    return ImageOps.solarize(image, round(256 * (1 - abs(level))))


def _autocontrast(image: Image.Image, level: float, _: Fill) -> Image.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, level: float, _: Fill) -> Image.Image:
    return ImageOps.equalize(image)


def _identity(image: Image.Image, level: float, _: Fill) -> Image.Image:
    return image


OPERATIONS: dict[str, Operation] = {
    "identity": _identity,
    "shear-x": _shear_x,
    "shear-y": _shear_y,
    "translate-x": _translate_x,
    "translate-y": _translate_y,
    "rotate": _rotate,
    "brightness": _brightness,
    "saturation": _saturation,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
