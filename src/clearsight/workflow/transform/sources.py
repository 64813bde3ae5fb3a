"""Sources: images of a folder, a glob, an archive, an HDF5 file or a list of paths, in a fixed order, one by one."""

from __future__ import annotations

import base64
import glob
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clearsight.core.dataset import ReadOptions
from clearsight.core.errors import BadImage, BadValue, ClearsightError, EmptyInput
from clearsight.core.files import stays_inside
from clearsight.data.containers import FORMATS, sniff
from clearsight.data.readers import check_path, open_listing
from clearsight.data.readers.archive import READER as ARCHIVES
from clearsight.data.readers.archive import open_images
from clearsight.data.readers.folders import list_image_names
from clearsight.data.readers.support.column_names import PATHS, usual
from clearsight.data.readers.support.files import FileSource, file_stamp
from clearsight.data.readers.support.layout import is_image
from clearsight.data.readers.table import open_paths
from clearsight.serving.codecs.base64_text import decode
from clearsight.workflow.prepare.inputs import Content, InputImage

_TABLES = (".csv", ".tsv")
_LINES = (".jsonl", ".ndjson")
_LONGEST_PATH = 4096  # bytes; a longer text is no path on any system
_HEAD = 64  # characters of base64 that hold the first bytes of an image


@dataclass(frozen=True, kw_only=True)
class InputSource:
    """Images to classify. kind: of the input.  location: of it, absolute, or "-" for a list of paths.

    images: returns them from the first on, at each call.  anchor: folder that relative names start from.
    stamp: of an archive or a file of images, which changes when the file does; "" for others.
    """

    kind: str
    location: str
    count: int
    images: Callable[[], Iterator[InputImage]]
    anchor: str = ""
    stamp: str = ""

    def file_names(self) -> Callable[[str], str]:
        """Return the function from the name of an image to a relative path, different for different images.

        Names are such paths already, unless one is absolute or leads outside: then all are made absolute, and the
        paths begin below the root.
        """
        if all(stays_inside(image.name) for image in self.images()):
            return os.path.normpath
        return lambda name: os.path.abspath(os.path.join(self.anchor, name)).lstrip(os.sep)


def check_source(source: str | Path | Sequence[str | Path]) -> None:
    """Raise NotFound where nothing is at a path; opens no file."""
    if isinstance(source, str | Path) and not glob.has_magic(str(source)):
        check_path(Path(source).expanduser())


def open_source(source: str | Path | Sequence[str | Path]) -> InputSource:
    """Return the images of a folder, glob, archive, table, JSON lines, dataset or list of paths; none is read.

    Raises NotFound for a missing path, EmptyInput where there is no image, and what the readers of datasets raise.
    """
    if not isinstance(source, str | Path):
        found = _of_paths([str(path) for path in source], "paths", "-")
    else:
        path = Path(source).expanduser()
        if path.exists() or not glob.has_magic(str(path)):  # before globs: a name may hold brackets
            check_path(path)
            found = _of_path(path)
        else:
            matches = sorted(glob.glob(str(path), recursive=True))
            found = _of_paths([match for match in matches if Path(match).is_file()], "glob", os.path.abspath(path))
    if not found.count:
        name = str(source) if isinstance(source, str | Path) else "the list of paths"
        raise EmptyInput(name, "there is no image there", allowed=FORMATS)
    return found


def _of_path(path: Path) -> InputSource:
    location, suffix = str(path.resolve()), path.suffix.lower()
    if path.is_dir():
        names, _ = list_image_names(path)
        if names:
            return _of_names(names, FileSource(path).read, kind="folder", location=location)
    elif ARCHIVES.recognises(path):
        archive, names = open_images(path)
        return _of_names(names, archive.read, kind="archive", location=location, stamp=file_stamp(path))
    elif suffix in _TABLES:
        return _of_table(path, location)
    elif suffix in _LINES:
        return _of_lines(path, location)
    elif is_image(path.name):
        return _of_paths([str(path)], "file", location)
    listing = open_listing(path.resolve(), "auto", ReadOptions(labels=False))  # HDF5, and whatever else holds images

    def images() -> Iterator[InputImage]:
        for record in listing.records:
            yield InputImage(record.locator, partial(listing.source.read, record.locator), stored=True)

    stamp = file_stamp(path) if path.is_file() else ""
    return InputSource(
        kind=listing.format, location=location, count=len(listing.records), images=images, anchor="/", stamp=stamp
    )


def _of_names(
    names: Sequence[str], read: Callable[[str], bytes], *, kind: str, location: str, stamp: str = ""
) -> InputSource:
    """Return the source of images that one function reads by their names."""

    def images() -> Iterator[InputImage]:
        for name in names:
            yield InputImage(name, partial(read, name))

    return InputSource(kind=kind, location=location, count=len(names), images=images, anchor="/", stamp=stamp)


def _of_paths(paths: Sequence[str], kind: str, location: str) -> InputSource:
    """Return the source of files; relative paths are those of the working folder."""
    folder = os.getcwd()
    read = FileSource(Path(folder)).read

    def images() -> Iterator[InputImage]:
        for path in paths:
            yield InputImage(path, partial(read, path))

    return InputSource(kind=kind, location=location, count=len(paths), images=images, anchor=folder)


def _of_table(path: Path, location: str) -> InputSource:
    rows, column = open_paths(path, ReadOptions(labels=False))

    def images() -> Iterator[InputImage]:
        for line, (cell,) in rows.pick(column):
            if cell is None:
                yield _unreadable(f"line-{line}", f"column {column!r} is empty")
            else:
                yield InputImage(cell, partial(_read_listed, path.parent, cell))

    count = sum(1 for _ in rows.pick(column))
    return InputSource(kind="table", location=location, count=count, images=images, anchor=str(path.resolve().parent))


def _of_lines(path: Path, location: str) -> InputSource:
    def images() -> Iterator[InputImage]:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield _of_line(line.strip(), number, path.parent)

    with path.open("rb") as stream:
        count = sum(1 for line in stream if line.strip())
    return InputSource(kind="lines", location=location, count=count, images=images, anchor=str(path.resolve().parent))


def _of_line(line: bytes, number: int, folder: Path) -> InputImage:
    """Return the image of a line: JSON text, a JSON object, or plain text, each a path or base64."""
    name = f"line-{number}"
    try:
        value = json.loads(line) if line[:1] in (b'"', b"{") else line.decode()
    except (ValueError, RecursionError):
        return _unreadable(name, f"line {number} is not JSON")
    fields = value if isinstance(value, dict) else {}
    text = _text(value)
    if text is None:
        return _unreadable(name, f"line {number} has neither a path nor an image in base64")
    if "b64" in fields or _is_base64(text):
        label = next((fields[key] for key in ("id", "key", "name") if isinstance(fields.get(key), str)), name)
        return InputImage(label or name, partial(_decode, text))
    return InputImage(text, partial(_read_listed, folder, text))


def _text(value: Any) -> str | None:
    """Return the text of a path or of base64 in the value of a line; None where there is none."""
    if isinstance(value, dict):
        if "b64" in value:
            return _text(value["b64"])
        names = usual([name for name in value if isinstance(value[name], str | dict)], PATHS)
        return _text(value[names[0]]) if names else None
    return value if isinstance(value, str) and value else None


def _is_base64(text: str) -> bool:
    """Return True for the base64 of an image, by its first bytes, and for a data: URL. A path is neither."""
    if text.startswith("data:") or len(text) > _LONGEST_PATH:
        return True
    try:
        head = base64.b64decode(text[:_HEAD][: len(text[:_HEAD]) // 4 * 4], validate=True)
    except ValueError:
        return False
    return sniff(head) is not None


def _decode(text: str) -> Content:
    try:
        return decode(text.encode(), "image")
    except BadValue as error:
        raise BadImage("image", error.problem) from None


def _read_listed(folder: Path, name: str) -> bytes:
    """Return the file at a path that a list names: relative to the list, else to the working folder."""
    is_elsewhere = not (folder / name).exists() and os.path.exists(name)
    return FileSource(Path.cwd() if is_elsewhere else folder).read(name)


def _unreadable(name: str, problem: str) -> InputImage:
    """Return an image that is recorded with its problem."""

    def read() -> Content:
        raise _no_image(problem)

    return InputImage(name, read)


def _no_image(problem: str) -> ClearsightError:
    return BadImage("image", problem)
