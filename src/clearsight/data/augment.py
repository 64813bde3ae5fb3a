"""Augment applied: random changes to one training image, with random numbers from a given generator alone."""

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
_TRIES = 10  # random boxes before the centred one, as in torchvision
_STRONGEST = 30  # RandAugment's magnitude runs from 0 to this


def view_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of the view that sample `index` shows in `epoch`; each below 2**32."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((_VIEW_STREAM, seed, epoch, index))))


def augment(pixels: Pixels, settings: Augment, preprocess: Preprocess, rng: np.random.Generator) -> Pixels:
    """Return a random view (S, S, 3) uint8 of (H, W, 3) uint8, C-contiguous; by default settings exactly `crop`.

    In this order: random-resized crop, flip, rotation (uncovered corners filled by reflection), brightness, contrast
    and saturation in random order, RandAugment. The result depends on the arguments and the state of `rng` only.
    """
    height, width = pixels.shape[:2]
    whole = settings.scale == (1.0, 1.0)  # draws nothing then, so that default settings equal `crop`
    box = centre_box(height, width, preprocess) if whole else random_box(height, width, settings, rng)
    view = resample(pixels, box, preprocess.size, preprocess.interpolation)
    if settings.flip and rng.random() < settings.flip:
        view = view[:, ::-1]
    if settings.rotate:
        view = rotated(view, rng.uniform(-settings.rotate, settings.rotate))
    if settings.colour or settings.operations:
        image = Image.fromarray(view)
        if settings.colour:
            image = _jittered(image, settings.colour, rng)
        if settings.operations:
            image = rand_augment(image, settings, _mean_colour(preprocess), rng)
        view = np.asarray(image)
    return np.ascontiguousarray(view)  # torch takes no array with the negative stride of a flip


def random_box(height: int, width: int, settings: Augment, rng: np.random.Generator) -> Box:
    """Return a whole-pixel box with `settings.scale` of the area and `settings.ratio` of width to height (log-uniform).

    After ten boxes that do not fit, the largest centred one whose ratio is allowed.
    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 6; the draws as in torchvision's
    RandomResizedCrop.
    """
    low, high = math.log(settings.ratio[0]), math.log(settings.ratio[1])
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*settings.scale)
        ratio = math.exp(rng.uniform(low, high))  # log-uniform: 3:4 is as likely as 4:3
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    ratio = min(max(width / height, settings.ratio[0]), settings.ratio[1])
    across, down = min(width, height * ratio), min(height, width / ratio)
    return (width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2


def rotated(view: Pixels, degrees: float) -> Pixels:
    """Rotate (S, S, 3) uint8 about its centre, bilinear, corners filled with the reflected image."""
    size = view.shape[0]
    turn = math.radians(degrees)
    # Half of what the turned square needs beyond the square: at most (sqrt(2) - 1) / 2 of the side.
    margin = math.ceil(size / 2 * (abs(math.cos(turn)) + abs(math.sin(turn)) - 1)) + 1  # +1 for the bilinear neighbour
    padded = np.pad(view, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    cos, sin, centre = math.cos(turn), math.sin(turn), size / 2
    # Where output pixel (x, y) comes from in `padded`: turned about the centre, which lies `margin` further there.
    matrix = (
        cos, -sin, margin + centre - cos * centre + sin * centre,
        sin, cos, margin + centre - sin * centre - cos * centre,
    )  # fmt: skip
    image = Image.fromarray(padded)
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))


def _jittered(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    factors = rng.uniform(1 - strength, 1 + strength, size=len(kinds))  # drawn before the order: independent of it
    for i in rng.permutation(len(kinds)):
        image = kinds[i](image).enhance(float(factors[i]))
    return image


def rand_augment(image: Image.Image, settings: Augment, fill: Fill, rng: np.random.Generator) -> Image.Image:
    """Apply `settings.operations` operations, drawn with replacement, each at `settings.magnitude` of 30, either sign.

    Source: Cubuk et al. 2020, "RandAugment", section 3; the ranges are torchvision's. Unlike there, shears keep the
    centre in place and uncovered parts take the mean colour instead of black.
    """
    names = tuple(OPERATIONS)
    for i in rng.integers(len(names), size=settings.operations):
        sign = 1 if rng.random() < 0.5 else -1
        image = OPERATIONS[names[i]](image, sign * settings.magnitude / _STRONGEST, fill)
    return image


def _mean_colour(preprocess: Preprocess) -> Fill:
    red, green, blue = (min(255, max(0, round(255 * mean))) for mean in preprocess.mean)
    return red, green, blue


Operation: TypeAlias = Callable[[Image.Image, float, Fill], Image.Image]  # (image, level in [-1, 1], fill)


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: Fill) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill)


# The order is part of the result: an operation is drawn by its position. Ranges at level 1 are torchvision's.
OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, level, fill: image,
    "shear-x": lambda image, x, fill: _affine(image, (1, 0.3 * x, -0.3 * x * image.height / 2, 0, 1, 0), fill),
    "shear-y": lambda image, x, fill: _affine(image, (1, 0, 0, 0.3 * x, 1, -0.3 * x * image.width / 2), fill),
    # 150 of 331 pixels, the input side of the paper that chose the operations (AutoAugment), as a share of any side.
    "translate-x": lambda image, x, fill: _affine(image, (1, 0, round(150 / 331 * image.width * x), 0, 1, 0), fill),
    "translate-y": lambda image, x, fill: _affine(image, (1, 0, 0, 0, 1, round(150 / 331 * image.height * x)), fill),
    "rotate": lambda image, level, fill: image.rotate(30 * level, Image.Resampling.BILINEAR, fillcolor=fill),
    "brightness": lambda image, level, _: ImageEnhance.Brightness(image).enhance(1 + 0.9 * level),
    "saturation": lambda image, level, _: ImageEnhance.Color(image).enhance(1 + 0.9 * level),
    "contrast": lambda image, level, _: ImageEnhance.Contrast(image).enhance(1 + 0.9 * level),
    "sharpness": lambda image, level, _: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * level),
    "posterize": lambda image, level, _: ImageOps.posterize(image, 8 - round(4 * abs(level))),  # bits kept, 8 to 4
    "solarize": lambda image, level, _: ImageOps.solarize(image, round(256 * (1 - abs(level)))),  # 256 changes nothing
    "autocontrast": lambda image, level, _: ImageOps.autocontrast(image),  # this and the next have no strength
    "equalize": lambda image, level, _: ImageOps.equalize(image),
}
