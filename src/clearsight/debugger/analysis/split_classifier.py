"""How well a small model tells training images from validation images, and which change makes it unable to.

Two samples differ if a classifier tells them apart (Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample
tests"; Rabanser et al. 2019, "Failing loudly"). Augmentation makes them differ too: borders that are filled, erased
parts, other scales. So it is not asked whether they differ, but whether one fixed change of the validation images,
such as turning them upside down, takes the difference away; a fixed change undoes no random one of training images.
N images, C channels, S pixels of a side of a thumbnail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from clearsight.core.view import Floats64, Ints
from clearsight.debugger.analysis.pixel_ends import Ends
from clearsight.debugger.analysis.reference import cross_validated_scores
from clearsight.debugger.analysis.thumbnails import Thumbnails, coarse

_LEAST = 60  # images of each split: the standard error of an accuracy is 5 % then
_MOST = 256  # images of each split, which bounds the time
_SIDE = 6  # pixels of the thumbnails that are told apart: a linear model of a few hundred images uses no more
# The share told apart must fall by so much, and so many standard errors. Over healthy augmentations of six kinds of
# images it fell by 0.1 and by 1.6 standard errors at most with a turned image or other channels, and, since a corner
# leaves out a border that augmentation filled or an erased part, by 0.12 and 2.9 with a corner.
_FALL, _ERRORS, _CORNER_ERRORS = 0.12, 3.0, 4.0
_SAME = 0.58  # share told apart that is (nearly) chance, left by the right change
_LEFT = 0.3  # of what was beyond chance, where augmentation alone makes a difference too
_AS_GOOD = 0.05  # difference of the shares that two changes leave, about a standard error
_CLEAREST = 0.05  # by which a corner must be better than any other one: erased borders favour several

Pixels = Floats64
Change = Callable[[Pixels], Pixels]

# Of the validation images, (N, C, S, S) to (N, C, S, S).
_TURNS: Mapping[str, Change] = {
    "turned upside down": lambda x: x[:, :, ::-1],
    "rotated by 180 degrees": lambda x: x[:, :, ::-1, ::-1],
    "rotated by 90 degrees to the left": lambda x: np.rot90(x, 1, (2, 3)),
    "rotated by 90 degrees to the right": lambda x: np.rot90(x, 3, (2, 3)),
    "transposed (rows as columns)": lambda x: x.swapaxes(2, 3),
    "transposed along the other diagonal": lambda x: x.swapaxes(2, 3)[:, :, ::-1, ::-1],
}
_CORNERS = {"upper left": (0, 0), "upper right": (0, 1), "lower left": (1, 0), "lower right": (1, 1)}  # row, column


@dataclass(frozen=True, slots=True)
class Explanation:
    """What takes the difference of the splits away.

    told: share of the images that the model assigns to their split, 0.5 by chance.  left: of it after the change.
    change: in words, of training images as against validation images, "are upside down".
    """

    told: float
    left: float
    change: str


def explained_difference(train: Thumbnails, valid: Thumbnails, ends: Ends | None) -> Explanation | None:
    """Return the fixed change that makes validation images look like training images; None where there is none.

    ends: values of black and of white, (C,) or (1,) each, where channels were normalised by figures of their own.
    Classes are compared in equal shares, where labels are known: other classes look different.
    """
    train, valid = _matched(train, valid)
    if min(len(train), len(valid)) < _LEAST:
        return None
    x, y = train.coarse(_SIDE), valid.coarse(_SIDE)
    told = told_apart(x, y)
    error = np.sqrt(0.5 / (2 * min(len(train), len(valid))))  # of the difference of two shares near 0.5
    fall = max(_FALL, _ERRORS * error)
    if told < 0.5 + fall:
        return None
    shares = {words: told_apart(x, changed) for words, changed in _changes(y, ends)}
    # Of changes that are as good the first: images that are mirrored at random are rotated where they are upside down.
    lowest = max(0.5, min(shares.values()))  # below a half is chance
    best = next(words for words, share in shares.items() if share <= lowest + _AS_GOOD)
    if told - shares[best] >= fall and shares[best] <= max(_SAME, 0.5 + _LEFT * (told - 0.5)):
        return Explanation(told, shares[best], best)
    return _corner(train, valid, told, max(_FALL, _CORNER_ERRORS * error))


def _changes(pixels: Pixels, ends: Ends | None) -> Iterator[tuple[str, Pixels]]:
    """Yield changes in words, and the changed validation images."""
    for words, turn in _TURNS.items():
        yield f"are {words} as against validation images", turn(pixels)
    if pixels.shape[1] == 3:
        for order in permutations(range(3)):
            if order != (0, 1, 2):
                names = ", ".join(map(str, order))
                yield (
                    f"have their channels in another order (they are validation's {names})",
                    _ordered(pixels, order, ends),
                )


def _ordered(pixels: Pixels, order: tuple[int, ...], ends: Ends | None) -> Pixels:
    """Return the channels in another order, exchanged before they were normalised if their ends are known."""
    if ends is None:
        return np.asarray(pixels[:, list(order)])
    black, white = (np.broadcast_to(end, (3,))[None, :, None, None] for end in ends)
    length = np.maximum(white - black, 1e-12)
    return np.asarray(((pixels - black) / length)[:, list(order)] * length + black)


def _corner(train: Thumbnails, valid: Thumbnails, told: float, fall: float) -> Explanation | None:
    """Return that one split shows a corner of what the other shows whole, if this alone takes the difference away."""
    half, found = train.pixels.shape[2] // 2, list[Explanation]()
    whole = {"train": train.coarse(half), "valid": valid.coarse(half)}
    for name, (row, column) in _CORNERS.items():
        rows, columns = slice(row * half, (row + 1) * half), slice(column * half, (column + 1) * half)
        cut = told_apart(coarse(train.pixels[:, :, rows, columns], _SIDE), coarse(whole["valid"], _SIDE))
        found.append(Explanation(told, cut, f"show what validation images show the {name} quarter of alone"))
        cut = told_apart(coarse(whole["train"], _SIDE), coarse(valid.pixels[:, :, rows, columns], _SIDE))
        found.append(Explanation(told, cut, f"show the {name} quarter alone of what validation images show whole"))
    found.sort(key=lambda explanation: explanation.left)
    best, next_best = found[:2]
    clear = best.left <= _SAME and told - best.left >= fall and next_best.left - best.left >= _CLEAREST
    return best if clear else None


def told_apart(first: Pixels, second: Pixels) -> float:
    """Return the share of images (N, C, S, S) and (M, C, S, S) that a cross-validated linear model assigns rightly.

    As many of both, evenly over the longer one; 0.5 is chance.
    """
    count = min(len(first), len(second), _MOST)
    parts = [pixels[np.linspace(0, len(pixels) - 1, count).round().astype(int)] for pixels in (first, second)]
    rows = np.concatenate(parts).reshape(2 * count, -1)
    split: Ints = np.repeat(np.arange(2), count)
    return float((cross_validated_scores(rows, split).argmax(axis=1) == split).mean())


def _matched(train: Thumbnails, valid: Thumbnails) -> tuple[Thumbnails, Thumbnails]:
    """Return as many images of each class of both; all of them where labels of one split are not known."""
    known = train.labelled, valid.labelled
    if min(len(split) / max(1, len(whole)) for split, whole in zip(known, (train, valid), strict=True)) < 0.5:
        return train, valid
    kept: list[list[Ints]] = [[], []]
    for label in np.intersect1d(known[0].labels, known[1].labels):
        places = [np.flatnonzero(split.labels == label) for split in known]
        count = min(map(len, places))
        for part, own in zip(kept, places, strict=True):
            part.append(own[np.linspace(0, len(own) - 1, count).round().astype(int)])
    rows = [np.sort(np.concatenate(part)) if part else np.empty(0, np.int64) for part in kept]
    return known[0].select(rows[0]), known[1].select(rows[1])
