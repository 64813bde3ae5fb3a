"""Hooks on the functions of libraries that read, decode and augment images, so that loading is timed by parts.

A function that a script imported by name before (`from torchvision.io import read_image`) is not hooked: it is timed by
the names in its stack instead (`hot_lines`).
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from clearsight.core.guard import Guard
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
# Functions whose first argument may be a path: its bytes are counted too.
_READING: dict[str, tuple[tuple[str, str], ...]] = {
    "PIL.Image": (("", "open"),),
    "pathlib": (("Path", "read_bytes"),),
    "torchvision.io": (("", "read_file"),),
    "torchvision.io.image": (("", "read_file"),),
}
_MARK = "__clearsight_timed__"


def listen(load_timer: LoadTimer, import_hook: ImportHook, patches: Patches) -> Sequence[Guard]:
    """Time these functions until `patches` are undone, also in modules that are imported later.

    Returns a guard per module: with another version of a library the functions of that library alone are not timed.
    """
    guards = []
    for module in dict.fromkeys((*_FUNCTIONS, *_READING)):
        guard = Guard(f"the profiler's timing of {module}", report=logging.getLogger(__name__).warning)
        import_hook.when_imported(module, partial(_hook, guard, load_timer, patches))
        guards.append(guard)
    return guards


def _hook(guard: Guard, load_timer: LoadTimer, patches: Patches, module: ModuleType) -> None:
    # Guarded, because an error would be raised by the import that leads here.
    guard.run(_time_functions, load_timer, patches, module)


def _time_functions(load_timer: LoadTimer, patches: Patches, module: ModuleType) -> None:
    for owner, name, part in _FUNCTIONS.get(module.__name__, ()):
        _replace(patches, getattr(module, owner) if owner else module, name, partial(load_timer.timed, part))
    for owner, name in _READING.get(module.__name__, ()):
        _replace(patches, getattr(module, owner) if owner else module, name, partial(_reading, load_timer))


def _replace(patches: Patches, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Time a function, if this version of the library has it and it was not imported from a hooked module."""
    if hasattr(owner, name) and not hasattr(getattr(owner, name), _MARK):
        patches.replace(owner, name, make)
        setattr(getattr(owner, name), _MARK, True)


def _reading(load_timer: LoadTimer, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, timed as reading, with the bytes of its file counted."""
    timed = load_timer.timed("read", function)

    def reading(*args: Any, **kwargs: Any) -> Any:
        if args and load_timer.busy_here() and isinstance(args[0], str | os.PathLike):
            load_timer.count_bytes(_size(args[0]))
        return timed(*args, **kwargs)

    return functools.wraps(function)(reading)


def _size(path: str | os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0  # the hooked function raises the error that fits
