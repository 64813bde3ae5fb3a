"""Layout of a folder tree: its splits, its classes, and notices about problems.

It works on names only, so a folder on disk and a zip archive follow the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from clearsight.core.dataset import Notice, Record, Split
from clearsight.core.errors import BadData, listed
from clearsight.data.readers.support.split_names import split_of

# Those of the last two lines are not decoded, but listed all the same, so that the scan can say why each is left out.
_IMAGE_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
        *(".svg", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".dng"),
        *(".cr2", ".nef", ".arw", ".ico", ".tga", ".ppm", ".pgm", ".eps"),
    ]
)
_HIDDEN = (
    *("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "lost+found"),
    *("$RECYCLE.BIN", "System Volume Information"),
)
_SHOWN = 3  # paths named in a notice, which carries all
_LEVEL = "Pass --class-level 1 to train on {upper}, or --class-level 2 to train on {lower}."
_LAYOUT_HELP = "Expected train/<class>/*.jpg with valid/ and test/ beside it, or <class>/*.jpg."


@dataclass
class Node:
    """A folder: its path relative to the root ("" for the root), the names of its images, and its subfolders."""

    path: str = ""
    files: list[str] = field(default_factory=list)
    folders: dict[str, Node] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def filled(self) -> list[Node]:
        """Return subfolders with images somewhere below them, by name."""
        return [node for _, node in sorted(self.folders.items()) if node.any()]

    def any(self) -> bool:
        """Return True if there is an image here or below."""
        return bool(self.files) or any(node.any() for node in self.folders.values())

    def images(self) -> list[str]:
        """Return paths of the images directly in this folder, sorted."""
        return [self.join(name) for name in sorted(self.files)]

    def deep(self) -> Iterator[str]:
        """Yield paths of all images here and below."""
        yield from self.images()
        for node in self.filled:
            yield from node.deep()

    def count(self) -> int:
        """Return the number of images here and below."""
        return sum(1 for _ in self.deep())

    def join(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name

    def folder(self, path: str) -> Node:
        """Return the subfolder at a relative POSIX path, made where it is missing."""
        node = self
        for name in PurePosixPath(path).parts:
            node = node.folders.setdefault(name, Node(node.join(name)))
        return node


def hidden(name: str) -> bool:
    """Return True if a file or folder belongs to a program, not to the dataset."""
    # Side files of macOS, Windows, Synology and ext file systems.
    return name.startswith(".") or name in _HIDDEN


def is_image(name: str) -> bool | None:
    """Return True if the extension is that of an image; None without an extension: its bytes decide."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in _IMAGE_SUFFIXES if suffix else None


@dataclass(frozen=True)
class Layout:
    """Images of a tree, and notices about it."""

    records: tuple[Record, ...]
    notices: tuple[Notice, ...]


def interpret(root: Node, dataset: str, class_level: int | None = None, tables: Sequence[str] = ()) -> Layout:
    """Return splits and classes of the tree; errors call it `dataset`. Raises BadData where it has no known layout.

    class_level: level of the class folders below the split, 1 or 2; None finds it, or asks.
    tables: names of tables beside the folders, for the advice where folders are no classes.
    """
    if not root.any():
        names = sorted(root.folders)
        more = " …" if len(names) > 5 else ""
        folders = f"only the folders {', '.join(names[:5])}{more}" if names else "nor a folder"
        raise BadData(dataset, f"there is no image in it ({folders})", fix=_LAYOUT_HELP)
    notices: list[Notice] = []
    top = _descend(root, notices)
    splits = _splits(top, dataset, notices, tables)
    if splits or top.filled:
        _strays(top, notices)
        level = class_level or (1 if splits is None else None)
        tree = _Tree(dataset, level, tables, notices)
        records = list(tree.by_split(top, splits) if splits else tree.by_class(top, None))
    else:  # a flat folder of images
        records = [Record(locator=path, label=None, split="predict") for path in top.images()]
    return Layout(tuple(records), tuple(notices))


def _descend(node: Node, notices: list[Notice]) -> Node:
    """Return the first folder below that holds more than one folder of folders."""
    start = node
    while len(node.filled) == 1:
        only = node.filled[0]
        if split_of(only.name) or not only.filled:  # "train" alone is a split, a folder of images a class
            break
        if node.files and not all(split_of(inner.name) for inner in only.filled):  # a logo beside data/train, data/test
            break
        _strays(node, notices)
        node = only
    if node is not start:
        notices.append(Notice(code="nested-folder", text=f"the dataset lies in {node.path}/", paths=(node.path,)))
    return node


def _splits(top: Node, dataset: str, notices: list[Notice], tables: Sequence[str]) -> dict[str, Split] | None:
    """Return folder name to split, {} or None where folders are classes: "train" may be a class of vehicle.

    None: the folder called like a split and those beside it hold folders, and are classes all the same.
    """
    named = {name: split for name in top.folders if (split := split_of(name)) is not None}
    filled = {node.name for node in top.filled}
    if any(top.folders[name].filled for name in named):  # folders inside: these are splits
        if not _is_class(top, {*named} & filled):
            return named
        [name] = {*named} & filled
        text = f"{name}/ is taken for a class, as {listed(sorted(filled - {name}), _SHOWN)} beside it"
        notices.append(Notice(code="split-is-class", text=f"{text}. {_levels(top)}", paths=(name,)))
        return None
    if not filled or not filled <= named.keys():  # other folders beside it: "train" is a class among others
        return {}
    flat = sorted(name for name in filled if named[name] in ("train", "valid"))
    if flat:  # test/ may be flat: its images are then to be predicted
        raise BadData(dataset, f"{flat[0]}/ holds images directly and no class folders", fix=_sort(flat[0], tables))
    return named


def _is_class(top: Node, named: set[str]) -> bool:
    """Return True if the only folder called like a split is one class of several: car, bus and train.

    The others are then more than one, hold as many images, and do not have the folders of the split.
    """
    if len(named) != 1:
        return False
    folder = next(top.folders[name] for name in named)
    others = [node for node in top.filled if node is not folder]
    same = {node.name for other in others for node in other.filled} & {node.name for node in folder.filled}
    enough = len(others) > 1 or (len(others) == 1 and split_of(folder.name) != "train")
    return enough and not same and sum(other.count() for other in others) >= folder.count()


def _levels(node: Node) -> str:
    """Return the advice about the two levels of folders that may be classes."""
    upper = listed([folder.name for folder in node.filled], _SHOWN)
    inner = dict.fromkeys(inner.name for folder in node.filled for inner in folder.filled)
    lower = listed([*inner], _SHOWN)
    return _LEVEL.format(upper=upper, lower=lower)


def _sort(folder: str, tables: Sequence[str]) -> str:
    """Return the advice about a folder of images that are not sorted by class."""
    if tables:
        return f"To take the classes from a table, pass it: {listed(tables, _SHOWN)}."
    return f"Sort them into {folder}/<class>/, or pass a table of paths and labels."


@dataclass
class _Tree:
    """Split and class folders being read."""

    dataset: str
    class_level: int | None
    tables: Sequence[str]
    notices: list[Notice]

    def by_split(self, top: Node, splits: dict[str, Split]) -> Iterator[Record]:
        ignored = tuple(node.path for node in top.filled if node.name not in splits)
        _note(self.notices, "folder-ignored", ignored, "left out, no split has such a name")
        for name, split in sorted(splits.items()):
            node = _undouble(top.folders[name], split)
            if not node.any():
                self.notices.append(Notice(code="empty-split", text=f"{name}/ holds no image", paths=(node.path,)))
            elif split == "predict" or (split == "test" and not node.filled):
                yield from (Record(locator=path, label=None, split="predict") for path in node.deep())
            elif not node.filled:
                problem = "it holds images directly and no class folders"
                raise BadData(f"{self.dataset}/{node.path}", problem, fix=_sort(node.path, self.tables))
            else:
                _strays(node, self.notices)
                yield from self.by_class(node, split)

    def by_class(self, node: Node, split: Split | None) -> Iterator[Record]:
        classes = [folder for _, folder in sorted(node.folders.items())]
        filled = [folder for folder in classes if folder.any()]
        empty = tuple(folder.path for folder in classes if not folder.any())
        _note(self.notices, "empty-class", empty, "no image in the folder")
        if split is None and _split_inside(filled):
            yield from self._by_class_and_split(filled)
            return
        deep = all(not folder.files and len(folder.filled) > 1 for folder in filled)
        if deep and self.class_level is None:  # classes or groups of classes? ask
            problem = (
                f"its images lie one level deeper than class folders ({filled[0].filled[0].path}/…), "
                "so the classes are not clear"
            )
            raise BadData(f"{self.dataset}/{node.path}".rstrip("/"), problem, fix=_levels(node))
        if self.class_level == 2:
            yield from self._by_inner_class(filled, split)
            return
        nested = tuple(folder.path for folder in filled if folder.filled)
        _note(self.notices, "nested-class", nested, "images in subfolders were taken for the class of the upper folder")
        for folder in filled:
            yield from (Record(locator=path, label=folder.name, split=split) for path in folder.deep())

    def _by_class_and_split(self, classes: list[Node]) -> Iterator[Record]:
        """Yield the images of <class>/<split>/."""
        inner = sorted({folder.name for node in classes for folder in node.filled})
        text = f"each class folder holds its splits ({listed(inner, _SHOWN)})"
        self.notices.append(Notice(code="split-in-class", text=text))
        for node in classes:
            yield from (Record(locator=path, label=node.name, split=None) for path in node.images())
            for folder in node.filled:
                split = split_of(folder.name)
                label = None if split == "predict" else node.name
                yield from (Record(locator=path, label=label, split=split) for path in folder.deep())

    def _by_inner_class(self, groups: list[Node], split: Split | None) -> Iterator[Record]:
        """Yield the images of <group>/<class>/; a name that several groups have is one class."""
        if not any(node.filled for node in groups):
            problem = "no folder there holds class folders"
            raise BadData(f"--class-level 2 ({self.dataset})", problem, fix="Leave --class-level out.")
        for node in groups:
            _strays(node, self.notices)
            for folder in node.filled:
                yield from (Record(locator=path, label=folder.name, split=split) for path in folder.deep())


def _split_inside(classes: list[Node]) -> bool:
    """Return True if the folders inside of class folders are all called like splits, train among them."""
    inner = [folder.name for node in classes for folder in node.filled]
    return len(classes) > 1 and "train" in map(split_of, inner) and all(map(split_of, inner))


def _undouble(node: Node, split: Split) -> Node:
    """seg_train/seg_train/<class> is how some downloads unpack."""
    while not node.files and len(node.filled) == 1 and split_of(node.filled[0].name) == split:
        node = node.filled[0]
    return node


def _strays(node: Node, notices: list[Notice]) -> None:
    _note(notices, "stray-image", tuple(node.images()), "left out, an image beside class folders has no class")


def _note(notices: list[Notice], code: str, paths: tuple[str, ...], remark: str) -> None:
    if paths:
        notices.append(Notice(code=code, text=f"{listed(paths, _SHOWN)}: {remark}", paths=paths))


def skipped(folders: Iterable[str]) -> tuple[Notice, ...]:
    """Return the notice about notebook folders that were left out."""
    notices: list[Notice] = []
    _note(notices, "ipynb-checkpoints", tuple(sorted(folders)), "left out, notebook copies")
    return tuple(notices)
