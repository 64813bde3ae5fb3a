"""Images of a table on this disk: their paths as written, or found by name below the folder of the table."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlparse

from clearsight.core.dataset import Notice
from clearsight.core.errors import BadChoice, BadData, NotFound, listed
from clearsight.data.readers.support.layout import hidden, is_image
from clearsight.data.readers.support.split_names import FILLERS, split_in, split_of, split_words

_MOST_FILES = 2_000_000  # names that are searched
_DEEPEST = 20  # folders
_SHOWN = 3


@dataclass(frozen=True)
class FoundImages:
    """Place of each image of a table: its path relative to `root`, by what the table writes."""

    root: Path
    locators: dict[str, str]
    missing: tuple[str, ...] = ()  # as written
    notices: tuple[Notice, ...] = ()


def find_images(table: Path, cells: Iterable[str], image_folder: str | None) -> FoundImages:
    """Return where the images of a table are.

    A path is relative to the table's folder, or to `image_folder`. Of the others, those of another machine and those
    without a suffix among them, the file of that name is taken, when there is one alone.
    Raises BadChoice where a name fits several files, NotFound for an `image_folder` that is not there.
    """
    written = list(dict.fromkeys(cells))
    base = table.parent if image_folder is None else _folder(table, image_folder)
    found = _search(table, base, written)
    if image_folder is None and len(found.missing) == len(written):
        # Nothing below the table: labels/train.csv beside images/ is common.
        searches = [_search(table, folder, written) for folder in _image_folders(table.parent)]
        full = [other for other in searches if len(other.missing) < len(written)]
        if len(full) > 1:
            places = [_shown(other.root, table) for other in full]
            raise BadChoice(
                str(table), "its images may be in several folders; choose one with --image-folder", allowed=places
            )
        if full:
            notice = Notice(code="image-folder", text=f"images are read from {_shown(full[0].root, table)}/")
            return replace(full[0], notices=(notice, *full[0].notices))
    return found


def folders_with_images(base: Path) -> list[str]:
    """Return up to three folders below `base` that hold images, relative to it, for a message."""
    found = dict.fromkeys(PurePosixPath(path).parent.as_posix() for path in islice(_images_below(base), 10_000))
    return [folder for folder in found if folder != "."][:_SHOWN]


def _search(table: Path, base: Path, written: Sequence[str]) -> FoundImages:
    """Return the images at their paths below `base`, then those found by name."""
    root = table.parent if base.is_relative_to(table.parent) else base
    plain = {cell: _plain(cell, base) for cell in written}
    below = "" if base == root else base.relative_to(root).as_posix()
    locators = {cell: _locator(below, path, root) for cell, path in plain.items()}
    missing = [cell for cell in written if not os.path.isfile(os.path.join(root, locators[cell]))]
    if not missing:
        return FoundImages(root, locators)
    index = _Index(base, table)
    # Where no folder is as written and all names are different, a name is enough, whatever stands before it.
    names = Counter(_key(path) for path in plain.values())
    distinct = len(missing) == len(written) and max(names.values()) == 1
    by_name: dict[str, str] = {}
    for cell in missing:
        if (path := index.find(plain[cell], distinct=distinct)) is not None:
            by_name[cell] = _locator(below, path, root)
    if not by_name:
        return FoundImages(root, locators, tuple(missing))
    pairs = listed([f"{cell} is {by_name[cell]}" for cell in by_name], 1)
    notice = Notice(code="found-by-name", text=f"images found by their names: {pairs}", paths=tuple(by_name.values()))
    left = tuple(cell for cell in missing if cell not in by_name)
    return FoundImages(root, {**locators, **by_name}, left, (notice,))


class _Index:
    """Image files below a folder, by name without case, by name without suffix, and by number."""

    def __init__(self, base: Path, table: Path) -> None:
        self._table, self._base = table, base
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_number: dict[str, list[str]] = defaultdict(list)
        for path in _images_below(base):
            name = _key(path)
            self._by_name[name].append(path)
            stem = name.rpartition(".")[0] or name
            self._by_stem[stem].append(path)
            self._by_number[_number(stem)].append(path)

    def find(self, written: str, *, distinct: bool) -> str | None:
        """Return the one file that fits a path, None where none does; raises BadChoice where several do."""
        name = _key(written)
        stem = name.rpartition(".")[0] if is_image(name) else name
        fits = [self._by_name.get(name), self._by_stem.get(stem)]
        if stem.isdecimal():  # Excel makes 7 of 0007
            fits.append(self._by_number.get(_number(stem)))
        for fitting in fits:
            best = self._best(fitting, written, distinct) if fitting else []
            if len(best) == 1:
                return best[0]
            if best:
                folders = sorted({_shown(self._base / path, self._table, parent=True) for path in best})
                problem = f"{written} may be {listed(best, _SHOWN)}"
                if len(folders) == 1:
                    raise BadData(str(self._table), problem, fix="Write the suffix too, or remove one of them.")
                raise BadChoice(str(self._table), f"{problem}; choose with --image-folder", allowed=folders)
        return None

    def _best(self, paths: Sequence[str], written: str, distinct: bool) -> list[str]:
        """Return the paths whose folders agree best with those that are written."""
        expected = _folders(written)
        agreeing = {path: _common_end(_folders(path), expected) for path in paths}
        most = max(agreeing.values())
        best = [path for path in paths if agreeing[path] == most]
        # img/1.jpg for 1.jpg, and the other way round, need no folder in common; cat/1.jpg is not dog/1.jpg.
        best = [path for path in best if distinct or most in (len(expected), len(_folders(path))) or most > 0]
        exact = [path for path in best if path.rpartition("/")[2] == written.rpartition("/")[2]]
        best = exact or best
        split = split_in(self._table.stem)
        named = [path for path in best if split and any(split_of(folder) == split for folder in _folders(path))]
        return named or best  # of train/1.jpg and test/1.jpg the first belongs to train.csv


def _folder(table: Path, image_folder: str) -> Path:
    """Return the folder that --image-folder names, seen from the table or from the current folder."""
    path = Path(image_folder).expanduser()
    for folder in (table.parent / path, path.absolute()):
        if folder.is_dir():
            return Path(os.path.normpath(folder))
    raise NotFound(f"--image-folder {image_folder}", f"there is no such folder, neither in {table.parent} nor here")


def _image_folders(folder: Path) -> list[Path]:
    """Return the folders beside one whose names say that they hold images: images, train, jpg."""
    try:
        siblings = [entry for entry in sorted(folder.parent.iterdir()) if entry != folder and entry.is_dir()]
    except OSError:
        return []
    return [entry for entry in siblings if split_of(entry.name) or {*split_words(entry.name)} & FILLERS]


def _plain(cell: str, base: Path) -> str:
    """Return a path as POSIX: without the scheme of a URL, with / for the \\ of Windows."""
    if re.match(r"[a-z][a-z0-9+.-]+://", cell, re.IGNORECASE):
        path = unquote(urlparse(cell).path)
        return path if cell.lower().startswith("file:") else path.lstrip("/")
    return cell if "\\" not in cell or os.path.isfile(os.path.join(base, cell)) else cell.replace("\\", "/")


def _locator(base: str, path: str, root: Path) -> str:
    """Return `path` below `base`, relative to `root` where it lies below; base: relative to root, "" for the root."""
    # As most are; Path takes several times longer.
    if path[:1] not in ("", "/", ".") and "//" not in path and "/." not in path:
        return f"{base}/{path}" if base else path
    whole = root / base / path
    return (whole.relative_to(root) if whole.is_relative_to(root) else whole).as_posix()


def _shown(path: Path, table: Path, *, parent: bool = False) -> str:
    return os.path.relpath(path.parent if parent else path, table.parent)


def _key(path: str) -> str:
    return _folded(path.rpartition("/")[2])


def _folded(name: str) -> str:
    """Return a name without case, accents composed: macOS writes them decomposed."""
    return unicodedata.normalize("NFC", name.casefold())


def _number(stem: str) -> str:
    return stem.lstrip("0") or "0"


def _folders(path: str) -> list[str]:
    return [_folded(part) for part in path.split("/")[:-1] if part not in ("", ".")]


def _common_end(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    while count < min(len(first), len(second)) and first[-1 - count] == second[-1 - count]:
        count += 1
    return count


def _images_below(base: Path) -> Iterator[str]:
    """Yield the paths of image files relative to `base`, by name; links to folders are not followed."""
    files = 0
    for folder, folders, names in os.walk(base):
        relative = Path(folder).relative_to(base).as_posix()
        deep = 0 if relative == "." else relative.count("/") + 1
        folders[:] = sorted(name for name in folders if not hidden(name)) if deep < _DEEPEST else []
        for name in sorted(names):
            if is_image(name) and not hidden(name):
                yield name if relative == "." else f"{relative}/{name}"
        files += len(names)
        if files > _MOST_FILES:
            return
