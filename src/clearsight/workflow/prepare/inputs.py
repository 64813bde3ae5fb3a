"""Inputs of a prediction: files, folders, globs, datasets, bytes, arrays, tensors, PIL images as a list of images."""

from __future__ import annotations

import glob
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clearsight.core.dataset import SPLITS, StoredPixels
from clearsight.core.errors import BadChoice, BadValue, EmptyInput, NotFound
from clearsight.core.recipe import DataSection
from clearsight.data.containers import FORMATS, sniff
from clearsight.data.readers import READERS, open_listing
from clearsight.data.readers.folders import list_images
from clearsight.data.readers.support.files import FileSource
from clearsight.data.readers.support.layout import is_image
from clearsight.data.readers.support.split_names import split_of
from clearsight.workflow.prepare.datasets import read_options

log = logging.getLogger(__name__)

_HEAD = 512  # bytes that tell an image file from others

Content: TypeAlias = bytes | StoredPixels


@dataclass(frozen=True, slots=True)
class InputImage:
    """One image to classify. name: its path, its key in a dataset, or "#N" of an image in memory.

    read: returns the encoded file, pixels (H, W, 3) uint8, or the network's own input (3, S, S) float; it raises
    ClearsightError or OSError.  stored: it returns what a dataset holds, of which `decode` makes pixels.
    """

    name: str
    read: Callable[[], Content]
    stored: bool = False


def input_images(images: Any, section: DataSection, split: str | None = None) -> list[InputImage]:
    """Return the images that an argument means: one of the kinds of `clearsight.predict`, or a list of them.

    split: of datasets; folders are read as datasets then.  section: how datasets are read.
    Raises NotFound for a missing path, BadValue for an object that is no image, EmptyInput when there is no image.
    """
    listed = list(images) if isinstance(images, Sequence) and not isinstance(images, str | bytes) else None
    if listed is None and isinstance(images, Iterable) and not _is_single(images):
        listed = list(images)
    found: dict[str, InputImage] = {}  # by name: each file once, in order
    count = 0
    for value in listed if listed is not None else [images]:
        if isinstance(value, str | Path):
            found.update((image.name, image) for image in _from_path(value, section, split))
            continue
        for content in _from_memory(value):
            found[f"#{count}"] = InputImage(f"#{count}", partial(_same, content))
            count += 1
    if not found:
        names = ", ".join(str(value) for value in listed or ()) or "the list"
        raise EmptyInput(names, "there is no image there", allowed=FORMATS)
    return list(found.values())


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files that `paths` name, each once, in the order given and sorted within folders and globs.

    A file named directly may have any suffix; below folders, the images are those that training would list.
    """
    found: dict[Path, None] = {}  # a dict: each file once, in order
    for text in paths:
        path = Path(text).expanduser()
        if path.is_dir():
            below, notices = list_images(path)
            found.update(dict.fromkeys(below))
            for notice in notices:
                log.warning("%s", notice.text)
        elif path.exists():  # before globs: a name may hold brackets
            found[path] = None
        elif matches := [match for match in sorted(glob.glob(str(path), recursive=True)) if Path(match).is_file()]:
            found.update(dict.fromkeys(map(Path, matches)))
        else:
            raise NotFound(str(text), "there is no such file, folder or glob match")
    if not found:
        raise EmptyInput(", ".join(map(str, paths)), "there is no image there", allowed=FORMATS)
    return list(found)


def _is_single(value: Any) -> bool:
    """Return True for an object that can be iterated and is one image or one array of them."""
    return isinstance(value, str | bytes | bytearray | np.ndarray) or hasattr(value, "detach") or _is_pil(value)


def _is_pil(value: Any) -> bool:
    return hasattr(value, "convert") and hasattr(value, "getbands")


def _from_path(text: str | Path, section: DataSection, split: str | None) -> Iterator[InputImage]:
    path = Path(text).expanduser()
    if path.exists() and _is_dataset(path, section, split):
        yield from _from_dataset(path, section, split)
        return
    if split is not None and path.is_file():
        fix = "Name the dataset, or leave the split out."
        raise BadValue(f"split {split!r}", f"{path} is one image, which has no splits", fix=fix)
    for file in find_images([text]):
        yield InputImage(str(file), partial(FileSource(file.parent).read, file.name))


def _is_dataset(path: Path, section: DataSection, split: str | None) -> bool:
    """Return True for a file that a reader of datasets knows, and for a folder that is asked for as a dataset."""
    if path.is_dir():
        # A folder of images is what people classify; that of another format has none in it.
        return split is not None or section.format != "auto" or (not list_images(path)[0] and _recognised(path))
    if is_image(path.name):
        return False
    with path.open("rb") as file:
        if sniff(file.read(_HEAD)) is not None:
            return False
    return section.format != "auto" or _recognised(path)


def _recognised(path: Path) -> bool:
    return any(reader.recognises(path) for _, reader in READERS)


def _from_dataset(path: Path, section: DataSection, split: str | None) -> Iterator[InputImage]:
    # Where classes decide nothing, a table without a clear one must not be an error.
    needs_labels = split is not None or bool(section.ignore_class)
    listing = open_listing(path.resolve(), section.format, replace(read_options(section), labels=needs_labels))
    records = [record for record in listing.records if record.label not in section.ignore_class]
    if split is not None:
        # As in training: an image without a label, for which the data name no split, is one to classify.
        splits = [record.split or ("predict" if record.label is None else None) for record in records]
        chosen = split_of(split)
        if chosen not in splits:
            present = [name for name in SPLITS if name in splits]
            raise BadChoice(f"split {split!r}", f"{path} has no such split", got=split, allowed=present)
        records = [record for record, name in zip(records, splits, strict=True) if name == chosen]
    for record in records[: section.limit]:
        yield InputImage(record.locator, partial(listing.source.read, record.locator), stored=True)


def _same(content: Content) -> Content:
    return content


def _from_memory(value: Any) -> Iterator[Content]:
    """Yield the images of an object: bytes, a PIL image, an array or a tensor of one image or several."""
    if isinstance(value, bytes | bytearray):
        yield bytes(value)
    elif _is_pil(value):
        yield np.asarray(value.convert("RGB"))
    elif isinstance(value, np.ndarray):
        yield from _from_array(value, channels_first=False)
    elif hasattr(value, "detach"):  # a tensor of torch, without importing it
        yield from _from_array(
            value.detach().cpu().float().numpy() if _is_half(value) else value.detach().cpu().numpy()
        )
    else:
        allowed = ("a path", "bytes", "an array", "a PIL image", "a torch tensor", "a list of them")
        raise BadValue(
            f"an image of type {type(value).__name__}", f"must be {', '.join(allowed[:-1])} or {allowed[-1]}"
        )


def _is_half(tensor: Any) -> bool:
    return str(tensor.dtype) in ("torch.bfloat16", "torch.float16")  # numpy has no bfloat16


def _from_array(array: npt.NDArray[Any], *, channels_first: bool = True) -> Iterator[Content]:
    if array.ndim == 4:
        for image in array:
            yield from _from_array(image, channels_first=channels_first)
        return
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    is_chw = array.ndim == 3 and array.shape[0] in (1, 3) and (channels_first or array.shape[2] not in (1, 3))
    pixels = array.transpose(1, 2, 0) if is_chw else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        problem = "an image must be (H, W, 3), of gray (H, W), or as a tensor (3, H, W)"
        raise BadValue(f"an array of shape {array.shape}", problem)
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    if pixels.dtype == np.uint8:
        yield np.ascontiguousarray(pixels)
    elif not np.issubdtype(pixels.dtype, np.floating):
        raise BadValue(f"an array of {array.dtype}", "pixels must be uint8, or numbers in [0, 1]")
    elif pixels.min() >= 0 and pixels.max() <= 1:  # as torchvision's ToTensor makes them; False for NaN
        yield np.ascontiguousarray(np.rint(pixels * 255).astype(np.uint8))
    else:  # prepared and normalised already: the predictor checks its shape
        yield np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
