"""Paths of caches and pretrained weights. The command line reads them from the environment and passes them on."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from clearsight.core.bundle import MANIFEST
from clearsight.core.errors import BadData, NotFound
from clearsight.core.files import read_json

_NOUNS = {"runs": "run", "studies": "study"}  # folder of the command line's defaults -> what is in it


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """cache: scans and features, safe to delete.  weights: folders that are searched for pretrained weights.

    torch_hub: where torch.hub downloads to.  home: of the processes that outlive commands, such as endpoints.
    """

    cache: Path
    weights: tuple[Path, ...]
    torch_hub: Path = field(default_factory=lambda: Path.home() / ".cache" / "torch" / "hub")
    home: Path = field(default_factory=lambda: Path.home() / ".local" / "state" / "clearsight")

    @property
    def optimized(self) -> Path:
        """Return the folder of networks that onnxruntime has optimised for this machine."""
        return self.cache / "optimized"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Paths:
        """Read $CLEARSIGHT_CACHE, $CLEARSIGHT_HOME and $CLEARSIGHT_WEIGHTS (folders, separated as in $PATH).

        Without them the paths are in ~/.cache and ~/.local/state.
        """
        # Set but empty counts as unset (XDG specification)
        user = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        base = user / "clearsight"
        cache = Path(environ["CLEARSIGHT_CACHE"]) if environ.get("CLEARSIGHT_CACHE") else base
        folders = [Path(part) for part in environ.get("CLEARSIGHT_WEIGHTS", "").split(os.pathsep) if part]
        torch_hub = Path(environ.get("TORCH_HOME") or user / "torch") / "hub"
        state = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        home = Path(environ.get("CLEARSIGHT_HOME") or state / "clearsight")
        # The user's folders are searched first.
        return cls(cache=cache, weights=(*folders, base / "weights"), torch_hub=torch_hub, home=home)


def latest(parents: Sequence[str], *, with_model: bool = False) -> Path:
    """Return the run or study that began last in one of the folders `parents`, "runs" or "studies".

    with_model: runs without a trained model do not count.  Raises NotFound where there is none.
    """
    found: list[tuple[float, Path]] = []
    for parent, noun in ((parent, _NOUNS[parent]) for parent in parents):
        for state in Path(parent).glob(f"*/{noun}.json"):
            if not with_model or (state.parent / "model" / MANIFEST).is_file():
                with suppress(
                    BadData, OSError, KeyError, TypeError, ValueError
                ):  # damaged, or being removed: it is not the one
                    found.append((float(read_json(state)["started"]), state.parent))
    if not found:
        kind = " with a model" if with_model else ""
        nouns = " or ".join(f"{_NOUNS[parent]}{kind} in the folder {parent}/" for parent in parents)
        raise NotFound("last", f"there is no {nouns} here", fix="Pass its path.")
    return max(found)[1]


def make_folder(parent: str, source: str | Path, fallback: str) -> Path:
    """Make the folder PARENT/NAME-N with the first N that does not exist yet, and return it.

    NAME is that of `source`, else `fallback`; characters other than letters, digits and "._-" become "-".
    It is made and not only chosen, so that two commands that start at the same moment have two folders.
    """
    stem = Path(source).expanduser().resolve().name.split(".")[0]  # photos.tar.gz gives photos
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-") or fallback
    Path(parent).mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = Path(parent) / f"{name}-{number}"
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("numbers do not end")


@contextmanager
def new_folder(out: str | Path | None, parent: str, source: str | Path, fallback: str) -> Iterator[Path]:
    """Yield the folder `out`, or without it that of `make_folder`, which is removed if it is empty after the block."""
    if out is not None:
        yield Path(out)
        return
    had_parent = Path(parent).exists()
    folder = make_folder(parent, source, fallback)
    try:
        yield folder
    finally:
        with suppress(OSError):  # not empty: what was to come is there
            folder.rmdir()
            if not had_parent:
                Path(parent).rmdir()
