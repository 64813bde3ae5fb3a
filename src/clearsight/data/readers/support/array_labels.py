"""Labels of an array of images among the other arrays: found by shape and name, and said when they are not taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clearsight.core.dataset import Notice, ReadOptions
from clearsight.core.errors import BadData, listed
from clearsight.data.labels import class_name
from clearsight.data.readers.support.arrays import ImageArray, StoredArray, image_arrays
from clearsight.data.readers.support.column_names import LABELS
from clearsight.data.readers.support.split_names import FILLERS, split_in

CLASS_NAMES = re.compile(r"class(es)?_?names?|labels?_?names?|classes|categories")
_USUAL = (*LABELS, "targets", "classes", "fine_label", "fine_labels", "ground_truth", "gt")
_IDENTIFIER = re.compile(r"(^|_)(ids?|index|indices|idx|keys?|files?|file_?names?|paths?|names?|uuids?)$")
_LABEL_WORDS = {*_USUAL, "y", "annotations"}
_IMAGE_WORDS = {"x", "image", "images", "img", "imgs", "data", "pixels"}
_PORTION = 1 << 22  # values of one-hot labels in memory at a time
_SHOWN = 4  # arrays named in a sentence
_SEVERAL = "several classes per image (multi-label)"


@dataclass(frozen=True)
class Labels:
    """Labels of an array of images: one class name per image, None where an image has none.

    names: None when no array was taken.  source: the array that was.
    """

    names: list[str | None] | None
    source: StoredArray | None
    notices: tuple[Notice, ...] = ()


def declared_names(arrays: Sequence[StoredArray]) -> tuple[str, ...]:
    """Return the class names that a file declares, in order, or ()."""
    for array in arrays:
        # A column of one name per image has a name such as class_name too, and repeats.
        if CLASS_NAMES.search(array.key.lower()) and len(array.shape) == 1 and array.dtype.kind in "SOU":
            names = tuple(word(value) for value in array.read(...).tolist())
            if len(set(names)) == len(names):
                return names
    return ()


def word(value: object) -> str:
    """Return the text of a label or of a class name."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def find_labels(
    images: ImageArray, arrays: Sequence[StoredArray], names: tuple[str, ...], options: ReadOptions
) -> Labels:
    """Return the labels of `images` among `arrays`, with a notice where the choice is not the only one, or is none.

    names: class names by number.  options: `label_column` names the array.
    Raises BadData where several arrays may be the labels, and where an array holds several classes per image.
    """
    if not options.labels:
        return Labels(None, None)
    notes: list[str] = []
    for scope in _scopes(images, arrays, notes):
        fitting = [array for array in scope if _fits(array, images, options.label_column, notes)]
        if options.label_column is not None:
            fitting = [array for array in fitting if options.label_column in (array.key, array.name)]
        if fitting:
            chosen, notices = _choose(images, fitting, options)
            if chosen is not None:
                return Labels(_values(chosen, images, names), chosen, notices)
            notes += [f"{array.key} names the images" for array in fitting]
    text = f"{images.array.file.name}: no array was taken as the labels of {images.array.key} ({images.count} images)"
    reason = listed(list(dict.fromkeys(notes)), _SHOWN) or "there is no other array for them"
    if options.label_column is not None:
        reason = f"none with one value per image is called {options.label_column}; {reason}"
    if images.array.split in ("test", "predict") and not notes:  # as expected
        return Labels(None, None)
    return Labels(None, None, (Notice(code="no-labels", text=f"{text}: {reason}", paths=(images.array.key,)),))


def _scopes(images: ImageArray, arrays: Sequence[StoredArray], notes: Sequence[str]) -> Iterator[list[StoredArray]]:
    """Yield where to look, nearest first: the group of the images, their file, the files of labels beside it."""
    image_array = images.array
    others = [array for array in arrays if array is not image_array and array.split == image_array.split]
    others = [array for array in others if not _holds_class_names(array, images)]
    beside = [array for array in others if array.file == image_array.file]
    group = [array for array in beside if array.group == image_array.group]
    yield group
    yield [array for array in beside if array not in group]
    if not notes:  # labels of its own that do not fit are a fault of the file, which another file must not hide
        with_images = {each.array.file for each in image_arrays(arrays)}
        alone = [array for array in others if array.file not in with_images]
        elsewhere = [array for array in alone if belongs(array.file, image_array.file)]
        yield [array for array in elsewhere if _rank(array) is not None or _usual_place(array.file.stem) is not None]


def belongs(labels: Path, images: Path) -> bool:
    """Return True if two files have the same name but for "labels" and "images": train_x.h5 and train_y.h5."""
    names = [{part for part in re.split(r"[^a-z0-9]+", file.stem.lower()) if part} for file in (labels, images)]
    return names[0] - _LABEL_WORDS == names[1] - _IMAGE_WORDS


def _holds_class_names(array: StoredArray, images: ImageArray) -> bool:
    """Return True for a list of class names; one value per image is a column of labels, whatever its name."""
    return bool(CLASS_NAMES.search(array.key.lower())) and len(array.shape) == 1 and array.shape[0] != images.count


def _fits(array: StoredArray, images: ImageArray, wanted: str | None, notes: list[str]) -> bool:
    """Return True if an array has one label per image; else say in `notes` why one that looks like labels has none."""
    axes = tuple(size for size in array.shape if size != 1)
    is_named = _rank(array) is not None or wanted in (array.key, array.name)
    if array.dtype.kind not in "uifbSOU":
        return False
    if axes == (images.count,) or (images.count == 1 and axes == () and array.shape):
        return True
    if len(axes) == 2 and axes[0] == images.count and array.shape[0] == images.count and array.dtype.kind in "uifb":
        if (problem := _one_hot_problem(array, images.count)) == "":
            return True
        if is_named and problem == _SEVERAL:
            fix = "clearsight trains one class per image."
            raise BadData(str(array.file), f"{array.key} looks like {problem}", fix=fix)
        notes.append(f"{array.key} has rows of {axes[1]} values that are not one-hot")
    elif is_named and len(axes) == 1:
        notes.append(f"{array.key} has {axes[0]} values for {images.count} images")
    elif is_named and array.shape:
        notes.append(f"{array.key} has the shape {array.shape}")
    return False


def _rank(array: StoredArray) -> int | None:
    """Return the place of an array's name among the usual names of labels, None for another name."""
    places = (_usual_place(array.key), _usual_place(array.name))
    return next((place for place in places if place is not None), None)


def _usual_place(name: str) -> int | None:
    words = [part for part in re.split(r"[^a-z]+", name.lower()) if part]
    plain = "_".join(part for part in words if part not in FILLERS and split_in(part) is None)
    return next((_USUAL.index(spelling) for spelling in (plain, name.lower()) if spelling in _USUAL), None)


def _choose(
    images: ImageArray, fitting: list[StoredArray], options: ReadOptions
) -> tuple[StoredArray | None, tuple[Notice, ...]]:
    """Return the array with the labels, None where all of them only identify the images."""
    ranked = sorted((array for array in fitting if _rank(array) is not None), key=lambda array: _rank(array) or 0)
    plain = ranked or [array for array in fitting if not _IDENTIFIER.search(array.name.lower())]
    if options.label_column is not None:
        return fitting[0], ()
    if len(plain) > 1 and not ranked:
        keys = ", ".join(array.key for array in plain)
        problem = f"{keys} may all be the labels of {images.array.key}"
        raise BadData(str(images.array.file), problem, fix=f"Choose one with --label-column {plain[0].name}.")
    if not plain:
        return None, ()
    chosen, others = plain[0], [array for array in fitting if array is not plain[0]]
    if not others:
        return chosen, ()
    left = listed([array.key for array in others], _SHOWN)
    more = f"one of the others ({left})" if len(others) > 1 else "the other"
    text = (
        f"classes of {images.array.key} are read from {chosen.key}; --label-column {others[0].name} would take {more}"
    )
    return chosen, (Notice(code="label-column", text=text),)


def _values(array: StoredArray, images: ImageArray, names: tuple[str, ...]) -> list[str | None]:
    """Return the class of every image."""
    if sum(size != 1 for size in array.shape) > 1:
        return [None if i < 0 else _class_name(i, names) for i in _one_hot(array)]
    values = np.asarray(array.read(...)).reshape(-1)
    if values.dtype.kind in "SOU":
        return [class_name(word(value)) for value in values.tolist()]
    if values.dtype.kind == "f" and not np.array_equal(values, np.round(values)):  # NaN too
        problem = f"labels of {images.array.key} are {values.dtype} and not whole: they look like a regression target"
        raise BadData(str(array.file), problem, fix="Store whole numbers or names of classes.")
    return [_class_name(i, names) for i in values.astype(np.int64).tolist()]


def _class_name(number: int, names: tuple[str, ...]) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


def _columns(array: StoredArray) -> int:
    return int(np.prod(array.shape[1:]))


def _portions(array: StoredArray) -> Iterator[npt.NDArray[np.generic]]:
    rows = max(_PORTION // _columns(array), 1)
    for start in range(0, array.shape[0], rows):
        yield np.asarray(array.read(slice(start, start + rows))).reshape(-1, _columns(array))


def _one_hot_problem(array: StoredArray, count: int) -> str:
    """Return why rows are not one-hot labels, "" when they are."""
    marked = 0
    for rows in _portions(array):
        if not np.isin(rows, (0, 1)).all():
            return "other numbers than 0 and 1"
        marks = np.asarray(rows != 0).sum(axis=1)
        if (marks > 1).any():
            return _SEVERAL
        marked += int(marks.sum())
    return "" if marked else "zeros alone"


def _one_hot(array: StoredArray) -> Iterator[int]:
    """Yield the place of the 1 in each row, -1 for a row of zeros."""
    for rows in _portions(array):
        places = np.where((rows != 0).any(axis=1), np.asarray(rows != 0).argmax(axis=1), -1)
        yield from places.tolist()
