"""HotLines: which lines of the user's own code loading waits for.

A thread samples about every 10 ms which line the thread that makes a batch is at. It sleeps while no batch is made.
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

from clearsight.core.guard import Guard
from clearsight.profiler.timing.line_file import LineFile

_EVERY = 0.01  # seconds between samples: less than 1 % of a core
_MAX_UNWRITTEN = 50  # samples
_TOP = 10  # lines that are reported


class HotLines:
    """Samples the lines of this process and of those forked from it into the file at `path`, as {"lines": {...}}.

    Nothing raises: an error ends the sampling and is logged once.
    """

    def __init__(self, path: Path) -> None:
        self.guard = Guard("the profiler's sampling of hot lines", report=logging.getLogger(__name__).warning)
        self._path = path
        self._pid = 0  # of the process in which the sampling thread runs
        self._closed = False
        self._unwritten: Counter[str] = Counter()
        self._by_name: Counter[str] = Counter()  # samples in no known part, by the part that names suggest
        self._followed, self._parts = 0, list[str]()
        self._busy = self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, thread: int, parts: list[str]) -> None:
        """Sample this thread until `pause`. parts: those it is in, innermost last; "" for one to find out by names."""
        if self._closed or self.guard.off:
            return
        self._followed, self._parts = thread, parts
        if self._pid != os.getpid():
            self._start_thread()
        self._busy.set()

    def pause(self) -> None:
        """Take no samples until the next `follow`."""
        self._busy.clear()

    def shares(self) -> dict[str, float]:
        """Return the shares of parts in the samples in no known part, "" where names suggest none; {} without any."""
        counts = self._by_name.copy()  # the other thread may add to it meanwhile
        return {part: count / counts.total() for part, count in counts.items()}

    def close(self) -> None:
        """End the sampling and write the rest."""
        self._closed = True
        if self._pid == os.getpid() and self._thread is not None:
            self._stop.set()
            self._busy.set()  # the thread may be waiting for it
            self._thread.join(1.0)
        self._pid = 0

    def _start_thread(self) -> None:
        """Start a thread in this process: threads are not copied when a process forks."""
        self._pid = os.getpid()
        self._unwritten.clear()  # the parent writes its own
        self._busy, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="clearsight-hot-lines", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        file = LineFile(self._path)
        self.guard.run(self._sample_until_stopped, file)
        self.guard.finish(file.close)

    def _sample_until_stopped(self, file: LineFile) -> None:
        enough = 1  # small at first, because the workers of a short epoch live for a second
        while not self._stop.is_set():
            self._busy.wait()
            self._sample()
            if self._unwritten.total() >= enough:
                self._write(file)
                enough = min(_MAX_UNWRITTEN, 3 * enough)
            self._stop.wait(_EVERY)
        self._write(file)

    def _sample(self) -> None:
        frame = sys._current_frames().get(self._followed) if self._busy.is_set() else None
        if frame is None or not self._parts:
            return
        known = self._parts[-1]
        part = known or part_of(frame)
        if not known:
            self._by_name[part] += 1
        if line := user_line(frame):
            self._unwritten[f"{line} {part or 'decode'}"] += 1

    def _write(self, file: LineFile) -> None:
        if self._unwritten:
            lines, self._unwritten = self._unwritten, Counter()
            file.write(json.dumps({"lines": lines}) + "\n")


def hottest(records: Iterable[Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return the lines seen most often: [{"where": "train.py:42 decode", "share": of all samples, in [0, 1]}]."""
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record["lines"])
    return [{"where": line, "share": round(seen / counts.total(), 4)} for line, seen in counts.most_common(_TOP)]


# Words in the name of a function, or of its file and folder in a library, with the part that they mean. The innermost
# frame decides.
_WORDS = {
    "read": ("open", "read", "fetch", "download", "getobject"),
    "decode": ("decode", "decoder", "decoded", "imread", "imdecode", "load", "loader", "loads", "unpack", "decompress"),
    "augment": (
        *("transform", "transforms", "augment", "augmentation", "augmentations", "crop", "resize", "flip", "rotate"),
        *("jitter", "normalize", "normalise", "blur", "albumentations", "preprocess", "affine", "pad"),
    ),
    "collate": ("collate", "stack", "batchify"),
}
_PARTS = {word: part for part, words in _WORDS.items() for word in words}
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_THIS_PACKAGE = os.path.dirname(__file__)  # the functions that time others stand between those
_LOADER = os.path.join("torch", "utils", "data")  # calls the dataset; frames further out say nothing about the part


def loading_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of a fetch from the innermost out, up to the loader, without those of this package."""
    while frame is not None and _LOADER not in frame.f_code.co_filename:
        if not frame.f_code.co_filename.startswith(_THIS_PACKAGE):
            yield frame
        frame = frame.f_back


def part_of(frame: FrameType | None) -> str:
    """Return the part that names of the stack suggest: "read", "decode", "augment", "collate"; "" for none."""
    for loading_frame in loading_frames(frame):
        code = loading_frame.f_code
        if part := part_named(code.co_name):
            return part
        if _is_library(code.co_filename):
            path = PurePath(code.co_filename)
            if part := part_named(path.stem) or part_named(path.parent.name):
                return part
    return ""


def part_named(name: str) -> str:
    """Return the part that a name such as `load_image` or `RandomCrop` suggests; "" for none."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return next((_PARTS[word.lower()] for word in words if word.lower() in _PARTS), "")


def user_line(frame: FrameType | None) -> str:
    """Return the innermost line of the user's code, as "train.py:42"; else the innermost of a library; else ""."""
    innermost = None
    for loading_frame in loading_frames(frame):
        innermost = innermost or loading_frame
        if not _is_library(loading_frame.f_code.co_filename):
            return _line(loading_frame)
    return _line(innermost) if innermost is not None else ""


def _line(frame: FrameType) -> str:
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def _is_library(file: str) -> bool:
    return file.startswith(("<frozen", *_LIBRARIES)) or "site-packages" in file or "dist-packages" in file
