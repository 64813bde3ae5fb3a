"""Class folders on disk, in any of the layouts that `layout` understands."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from clearsight.core.dataset import Listing, Notice, ReadOptions
from clearsight.core.errors import BadData, listed
from clearsight.core.format import encodable
from clearsight.data.containers import sniff
from clearsight.data.readers.support.files import FileSource
from clearsight.data.readers.support.layout import Node, hidden, interpret, is_image, skipped
from clearsight.data.readers.support.split_names import split_in

_DEEPEST = 20  # folders below the root; real data is never so deep, links that lead around are
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".lst", ".manifest")  # named in the hint when folders are no classes


class FoldersReader:
    """train|valid|test/<class>/, seg_train/seg_test/seg_pred, or <class>/ alone. Links are followed, loops are not."""

    name = "folders"

    def recognises(self, path: Path) -> bool:
        if not path.is_dir():
            return False
        try:
            with os.scandir(path) as entries:
                visible = (entry for entry in entries if not hidden(entry.name))
                return any(entry.is_dir() or is_image(entry.name) is not False for entry in visible)
        except OSError:
            return True  # unreadable: `read` raises the reason

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return all images below `path`."""
        if not path.is_dir():
            raise BadData(str(path), "it is not a folder")
        _check_no_table(path, options)
        walk = _Walk()
        walk.enter(path, walk.root, ())
        tables = _tables(path)
        layout = interpret(walk.root, str(path), options.class_level, [str(path / name) for name in tables])
        if tables and len({record.label for record in layout.records}) == 1:
            hint = f"the images are not sorted by class; to take the classes from the table, pass {path / tables[0]}"
            walk.notices.append(Notice(code="table-beside", text=hint, paths=tuple(tables)))
        notices = (*skipped(walk.checkpoints), *walk.notices, *layout.notices)
        return Listing(records=layout.records, source=FileSource(path), format=self.name, notices=notices)


def _tables(path: Path) -> list[str]:
    """Return the names of tables in a folder, those of training images first: test.csv seldom has labels."""
    names = [entry.name for entry in path.iterdir() if entry.suffix.lower() in _TABLES]
    return sorted(names, key=lambda name: (split_in(name) != "train", name))


def _check_no_table(path: Path, options: ReadOptions) -> None:
    """Raise BadData for settings of a table: without one they would be ignored."""
    columns = {
        "--label-column": options.label_column,
        "--split-column": options.split_column,
        "--group-column": options.group_column,
    }
    tables = [str(path / name) for name in _tables(path)]
    for flag, column in columns.items():
        if column is not None:
            problem = "class folders have no columns"
            raise BadData(f"{flag} {column}", problem, fix=f"Pass the table itself: {listed(tables, 3) or 'a CSV'}.")
    if options.image_folder is not None:
        problem = "class folders hold their images themselves"
        raise BadData(f"--image-folder {options.image_folder}", problem, fix="Leave it out, or pass a table of images.")


def list_images(folder: Path) -> tuple[list[Path], tuple[Notice, ...]]:
    """Return the images below a folder by the rules of class folders, whatever its layout, and what was left out."""
    names, notices = list_image_names(folder)
    return [folder / name for name in names], notices


def list_image_names(folder: Path) -> tuple[list[str], tuple[Notice, ...]]:
    """Return the paths of `list_images` as text, relative to the folder, with slashes."""
    walk = _Walk()
    walk.enter(folder, walk.root, ())
    return list(walk.root.deep()), tuple(walk.notices)


@dataclass
class _Walk:
    """A folder tree being read into nodes."""

    root: Node = field(default_factory=Node)
    checkpoints: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def enter(self, folder: Path, node: Node, above: tuple[tuple[int, int], ...]) -> None:
        """Read `folder` into `node`; `above` are the device and inode of the folders it lies in."""
        facts = folder.stat()
        identity = (facts.st_dev, facts.st_ino)  # the same folder whichever link leads to it
        if identity in above or len(above) > _DEEPEST:
            text = f"{node.path}: left out, it leads back to a folder above, or lies over {_DEEPEST} folders deep"
            self.notices.append(Notice(code="link-loop", text=text, paths=(node.path,)))
            return
        for entry in self._entries(folder, node):
            if entry.is_dir():  # follows links
                child = node.folders.setdefault(entry.name, Node(node.join(entry.name)))
                self.enter(Path(entry.path), child, (*above, identity))
            elif _is_listed(entry):
                node.files.append(entry.name)

    def _entries(self, folder: Path, node: Node) -> list[os.DirEntry[str]]:
        """Return the visible entries of a folder, by name."""
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)  # the disk's order differs between machines
        except OSError as error:
            raise BadData(str(folder), f"the folder cannot be read ({error.strerror})") from None
        visible = []
        for entry in found:
            if not encodable(entry.name):  # such a name cannot be written to run.json, a table or a page
                text = f"{node.join(entry.name)!a}: left out, the name is not valid UTF-8; rename it"
                self.notices.append(Notice(code="undecodable-name", text=text, paths=(ascii(entry.name),)))
            elif not hidden(entry.name):
                visible.append(entry)
            elif entry.name == ".ipynb_checkpoints":
                self.checkpoints.append(node.join(entry.name))
        return visible


def _is_listed(entry: os.DirEntry[str]) -> bool:
    """Return True if a file is to be listed; a broken link named like an image is, so that it gets reported."""
    image = is_image(entry.name)
    if image is False:
        return False
    if not entry.is_file():
        return bool(image) and entry.is_symlink() and not os.path.exists(entry.path)
    if image:
        return True
    with open(entry.path, "rb") as stream:
        return sniff(stream.read(16)) is not None


READER = FoldersReader()
