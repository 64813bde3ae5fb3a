"""HotLines: which lines of somebody's own code the making of images waits for.

A thread looks about every 10 ms where the thread that makes a batch stands. It sleeps while no batch is made.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from types import FrameType
from typing import Any

from clearsight.profiler.timing.line_file import LineFile

log = logging.getLogger(__name__)

_EVERY = 0.01  # seconds between looks
_MOST = 50  # looks between two lines in the file
_TOP = 10


class HotLines:
    """Looks of this process, and of those forked from it, appended to the file at `path` as {"lines": {...}}.

    Nothing raises: a failure ends the looking, and is logged once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = 0
        self._failed = self._closed = False
        self._fresh: Counter[str] = Counter()
        self._rest: Counter[str] = Counter()
        self._thread, self._open = 0, list[str]()
        self._busy = self._stop = threading.Event()

    def watch(self, thread: int, parts: list[str]) -> None:
        """Look at this thread until `rest`. parts: those it is in, innermost last; "" is one that names must tell."""
        if self._closed or self._failed:
            return
        self._thread, self._open = thread, parts
        if self._pid != os.getpid():
            self._begin()
        self._busy.set()

    def rest(self) -> None:
        """Look no more until the next `watch`."""
        self._busy.clear()

    def shares(self) -> dict[str, float]:
        """Of the looks at code without a known part: the share of each part, by names, "" for none; {} without any."""
        counts = self._rest.copy()
        return {part: count / counts.total() for part, count in counts.items()}

    def close(self) -> None:
        """Look no more, and hand over what was seen."""
        self._closed = True
        if self._pid == os.getpid():
            self._stop.set()
            self._busy.set()
            self._looking.join(1.0)
        self._pid = 0

    def _begin(self) -> None:
        """Begin to look, in this process: threads do not come along when a process forks."""
        self._pid = os.getpid()
        self._fresh.clear()
        self._busy, self._stop = threading.Event(), threading.Event()
        self._looking = threading.Thread(target=self._run, name="clearsight-hot-lines", daemon=True)
        self._looking.start()

    def _run(self) -> None:
        file, enough = LineFile(self._path), 1  # early at first, for readers that live for an epoch of a second
        try:
            while not self._stop.is_set():
                self._busy.wait()
                self._look()
                if self._fresh.total() >= enough:
                    self._hand_over(file)
                    enough = min(_MOST, 3 * enough)
                self._stop.wait(_EVERY)
            self._hand_over(file)
        except Exception as error:  # the one place: looking ends, and nobody's work does
            self._failed = True
            log.warning("the profiler no longer looks for hot lines: %s: %s", type(error).__name__, error)
        finally:
            file.close()

    def _look(self) -> None:
        frame = sys._current_frames().get(self._thread) if self._busy.is_set() else None
        if frame is None or not self._open:
            return
        known = self._open[-1]
        part = known or part_of(frame)
        if not known:
            self._rest[part] += 1
        if line := own_line(frame):
            self._fresh[f"{line} {part or 'decode'}"] += 1

    def _hand_over(self, file: LineFile) -> None:
        if self._fresh:
            lines, self._fresh = self._fresh, Counter()
            file.write(json.dumps({"lines": lines}) + "\n")


def hottest(told: Iterable[Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    """The lines that were seen most often: [{"where": "train.py:42 decode", "share": of all looks, in [0, 1]}]."""
    counts: Counter[str] = Counter()
    for one in told:
        counts.update(one["lines"])
    return [{"where": where, "share": round(seen / counts.total(), 4)} for where, seen in counts.most_common(_TOP)]


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
