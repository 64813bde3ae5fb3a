"""Layout of a folder tree: its splits, its classes, and notices about problems.

It works on names only, so a folder on disk and a zip archive follow the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
_SHOWN = 3  # paths named in a notice, which carries all
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
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "lost+found")


def is_image(name: str) -> bool | None:
    """Return True if the extension is that of an image; None without an extension: its bytes decide."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in _IMAGE_SUFFIXES if suffix else None


@dataclass(frozen=True)
class Layout:
    """Images of a tree, and notices about it."""

    records: tuple[Record, ...]
    notices: tuple[Notice, ...]


def interpret(root: Node, dataset: str) -> Layout:
    """Return splits and classes of the tree; errors call it `dataset`. Raises BadData where it has no known layout."""
    if not root.any():
        names = sorted(root.folders)
        more = " …" if len(names) > 5 else ""
        folders = f"only the folders {', '.join(names[:5])}{more}" if names else "nor a folder"
        raise BadData(dataset, f"there is no image in it ({folders})", fix=_LAYOUT_HELP)
    notices: list[Notice] = []
    top = _descend(root, notices)
    splits = _splits(top, dataset)
    if splits or top.filled:
        _strays(top, notices)
        found = _by_split(top, splits, dataset, notices) if splits else _by_class(top, None, dataset, notices)
        records = list(found)
    else:  # a flat folder of images
        records = [Record(locator=path, label=None, split="predict") for path in top.images()]
    return Layout(tuple(records), tuple(notices))


def _descend(node: Node, notices: list[Notice]) -> Node:
    """Return the first folder below that holds more than one folder of folders."""
    start = node
    while not node.files and len(node.filled) == 1:
        only = node.filled[0]
        if split_of(only.name) or not only.filled:  # "train" alone is a split, a folder of images a class
            break
        node = only
    if node is not start:
        notices.append(Notice(code="nested-folder", text=f"the dataset lies in {node.path}/", paths=(node.path,)))
    return node


def _splits(top: Node, dataset: str) -> dict[str, Split]:
    """Return folder name to split, {} where folders are classes: "train" may be a class of vehicle, holding images."""
    named = {name: split for name in top.folders if (split := split_of(name)) is not None}
    filled = {node.name for node in top.filled}
    if any(top.folders[name].filled for name in named):  # folders inside: these are splits
        return named
    if not filled or not filled <= named.keys():  # other folders beside it: "train" is a class among others
        return {}
    flat = sorted(name for name in filled if named[name] in ("train", "valid"))
    if flat:  # test/ may be flat: its images are then to be predicted
        fix = f"Sort them into {flat[0]}/<class>/, or pass a table of paths and labels."
        raise BadData(dataset, f"{flat[0]}/ holds images directly and no class folders", fix=fix)
    return named


def _by_split(top: Node, splits: dict[str, Split], dataset: str, notices: list[Notice]) -> Iterator[Record]:
    ignored = tuple(node.path for node in top.filled if node.name not in splits)
    _note(notices, "folder-ignored", ignored, "left out, no split has such a name")
    for name, split in sorted(splits.items()):
        node = _undouble(top.folders[name], split)
        if not node.any():
            notices.append(Notice(code="empty-split", text=f"{name}/ holds no image", paths=(node.path,)))
        elif split == "predict" or (split == "test" and not node.filled):
            yield from (Record(locator=path, label=None, split="predict") for path in node.deep())
        elif not node.filled:
            problem = "it holds images directly and no class folders"
            raise BadData(f"{dataset}/{node.path}", problem, fix="Sort them into classes.")
        else:
            _strays(node, notices)
            yield from _by_class(node, split, dataset, notices)


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


def _by_class(node: Node, split: Split | None, dataset: str, notices: list[Notice]) -> Iterator[Record]:
    classes = [folder for _, folder in sorted(node.folders.items())]
    filled = [folder for folder in classes if folder.any()]
    if all(not folder.files and len(folder.filled) > 1 for folder in filled):  # classes or groups of classes? ask
        deep = filled[0].filled[0].path  # an example for the error
        problem = f"its images lie one level deeper than class folders ({deep}/…), so the classes are not clear"
        fix = f"Pass the folder whose subfolders are the classes, e.g. {dataset}/{filled[0].path}."
        raise BadData(f"{dataset}/{node.path}".rstrip("/"), problem, fix=fix)
    empty = tuple(folder.path for folder in classes if not folder.any())
    _note(notices, "empty-class", empty, "no image in the folder")
    nested = tuple(folder.path for folder in filled if folder.filled)
    _note(notices, "nested-class", nested, "images in subfolders were taken for the class of the upper folder")
    for folder in filled:
        yield from (Record(locator=path, label=folder.name, split=split) for path in folder.deep())


def skipped(folders: Iterable[str]) -> tuple[Notice, ...]:
    """Return the notice about notebook folders that were left out."""
    notices: list[Notice] = []
    _note(notices, "ipynb-checkpoints", tuple(sorted(folders)), "left out, notebook copies")
    return tuple(notices)
