"""Image functions: where libraries read, decode and augment images, so that a reader's time can be told apart.

Functions that a script has taken by name before (`from torchvision.io import read_image`) go by the names of its
frames instead.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from clearsight.profiler.external.import_hook import ImportHook
from clearsight.profiler.external.load_timer import LoadTimer
from clearsight.profiler.external.patches import Patches

_DECODING = tuple(("", name, "decode") for name in ("decode_image", "decode_jpeg", "decode_png", "read_image"))
# module -> (class in it, or "" for the module itself; attribute; part)
_FUNCTIONS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "PIL.ImageFile": (("ImageFile", "load", "decode"),),
    "torchvision.io": _DECODING,
    "torchvision.io.image": _DECODING,
    "torchvision.transforms.transforms": (("Compose", "__call__", "augment"),),
    "torchvision.transforms.v2": (("Compose", "forward", "augment"), ("Transform", "forward", "augment")),
    "cv2": (("", "imread", "decode"), ("", "imdecode", "decode")),
    "albumentations.core.composition": (("Compose", "__call__", "augment"),),
    "h5py": (("Dataset", "__getitem__", "read"),),
    "numpy": (("", "load", "read"),),
}
_MARK = "__clearsight_timed__"
# Those of which the first argument is a path, or the result is what was read.
_READING: dict[str, tuple[tuple[str, str], ...]] = {
    "PIL.Image": (("", "open"),),
    "pathlib": (("Path", "read_bytes"),),
    "torchvision.io": (("", "read_file"),),
    "torchvision.io.image": (("", "read_file"),),
}


def listen(reader: LoadTimer, arrivals: ImportHook, patches: Patches, *, failed: Callable[[Exception], None]) -> None:
    """Time these functions from now on, in modules that are imported later too, until `patches` are undone."""
    for module in dict.fromkeys((*_FUNCTIONS, *_READING)):
        arrivals.when_imported(module, partial(_dress, reader, patches, failed))


def _dress(reader: LoadTimer, patches: Patches, failed: Callable[[Exception], None], module: ModuleType) -> None:
    try:
        for owner, name, part in _FUNCTIONS.get(module.__name__, ()):
            _replace(patches, getattr(module, owner) if owner else module, name, partial(reader.timed, part))
        for owner, name in _READING.get(module.__name__, ()):
            _replace(patches, getattr(module, owner) if owner else module, name, partial(_reading, reader))
    except Exception as error:  # another version of the library, say: the import that led here must not fail by it
        failed(error)


def _replace(patches: Patches, home: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Time a function, where this version of the library has it and it was not imported timed already."""
    if hasattr(home, name) and not hasattr(getattr(home, name), _MARK):
        patches.replace(home, name, make)
        setattr(getattr(home, name), _MARK, True)


def _reading(reader: LoadTimer, work: Callable[..., Any]) -> Callable[..., Any]:
    """Timed as reading, and the bytes of the file counted."""
    counted = reader.timed("read", work)

    def reading(*args: Any, **kwargs: Any) -> Any:
        if args and reader.busy_here() and isinstance(args[0], str | os.PathLike):
            reader.count_bytes(_size(args[0]))
        return counted(*args, **kwargs)

    return functools.wraps(work)(reading)


def _size(path: str | os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0  # the function itself says what is wrong with the path
