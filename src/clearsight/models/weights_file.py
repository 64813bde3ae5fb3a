"""Weights files on disk: which belong to a model, and whether one can be read.

Without torch, so that a wrong path is said at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clearsight.core.errors import BadValue, NotFound, nearest

PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".tar")
NOT_A_FILE = ("default", "none")  # words that `--weights` takes beside paths


def candidates(model: str, folders: Iterable[Path]) -> list[Path]:
    """Return the weights files for `model` in `folders`, nearest name first: <model>.safetensors, <model>_<more>.pth.

    A "/" in the name may be "_" or "-" in the file's name, or the part before it may be missing.
    """
    stems = list(dict.fromkeys((model.replace("/", "_"), model.replace("/", "-"), model.rpartition("/")[2])))
    found = []
    for folder in folders:
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            rest = next((path.stem[len(stem) :] for stem in stems if path.stem.startswith(stem)), None)
            if path.suffix in (".safetensors", ".pth") and rest is not None and (not rest or rest[0] in "_-."):
                found.append((len(rest), path.suffix != ".safetensors", path))
    return [path for *_, path in sorted(found, key=lambda entry: entry[:2])]


def check_file(path: Path) -> None:
    """Raise NotFound if there is no weights file at `path`, BadValue if its type cannot be read."""
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, names)
        hint = f"Did you mean {path.parent / near}? " if near else ""
        fix = f"{hint}Pass default, none, or a .safetensors or .pth file."
        raise NotFound(f"--weights {path}", "there is no such file", fix=fix)
    if path.suffix != ".safetensors" and path.suffix not in PICKLED:
        problem = f"files of type {path.suffix or 'none'} cannot be read, only .safetensors and .pth"
        raise BadValue(f"--weights {path}", problem)
