"""Frames: which part of making a picture a thread is in, by the names of the functions that it runs."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator
from pathlib import PurePath
from types import FrameType

# Words of a function's name, or of its file's and folder's, and the part that they mean; the innermost frame decides.
_WORDS = {
    "read": ("open", "read", "fetch", "download", "getobject"),
    "decode": ("decode", "decoder", "decoded", "imread", "imdecode", "load", "loader", "loads", "unpack", "decompress"),
    "augment": (
        *("transform", "transforms", "augment", "augmentation", "augmentations", "crop", "resize", "flip", "rotate"),
        *("jitter", "normalize", "normalise", "blur", "albumentations", "preprocess", "affine", "pad"),
    ),
    "collate": ("collate", "stack", "batchify"),
}
_PART = {word: part for part, words in _WORDS.items() for word in words}
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OURS = os.path.join("clearsight", "profiler", "foreign")
_FETCH = os.path.join("torch", "utils", "data")  # where the loader calls the dataset: nothing further out tells more


def innermost_first(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of a fetch from the innermost one out, up to the loader that asked for it, without our own."""
    while frame is not None and _FETCH not in frame.f_code.co_filename:
        if _OURS not in frame.f_code.co_filename:
            yield frame
        frame = frame.f_back


def part_of(frame: FrameType | None) -> str:
    """The part that the names speak of: "read", "decode", "augment", "collate", or "" where none does."""
    for one in innermost_first(frame):
        code = one.f_code
        if part := part_named(code.co_name):
            return part
        if _library(code.co_filename):
            path = PurePath(code.co_filename)
            if part := part_named(path.stem) or part_named(path.parent.name):
                return part
    return ""


def part_named(name: str) -> str:
    """The part that a name such as `load_image` or `RandomCrop` speaks of; "" for none."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return next((_PART[word.lower()] for word in words if word.lower() in _PART), "")


def own_line(frame: FrameType | None) -> str:
    """The innermost line that is the user's, as "train.py:42"; that of a library where there is none; else ""."""
    first = None
    for one in innermost_first(frame):
        first = first or one
        if not _library(one.f_code.co_filename):
            return _line(one)
    return _line(first) if first is not None else ""


def _line(frame: FrameType) -> str:
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def _library(file: str) -> bool:
    return file.startswith(("<frozen", *_LIBRARIES)) or "site-packages" in file or "dist-packages" in file
