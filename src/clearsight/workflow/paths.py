"""Paths of caches and pretrained weights. The command line reads them from the environment and passes them on."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """cache: scans and features, safe to delete.  weights: folders that are searched for pretrained weights."""

    cache: Path
    weights: tuple[Path, ...]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Paths:
        """Read $CLEARSIGHT_CACHE and $CLEARSIGHT_WEIGHTS (folders, separated as in $PATH), else paths in ~/.cache."""
        # Set but empty counts as unset (XDG specification)
        base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clearsight"
        cache = Path(environ["CLEARSIGHT_CACHE"]) if environ.get("CLEARSIGHT_CACHE") else base
        folders = [Path(part) for part in environ.get("CLEARSIGHT_WEIGHTS", "").split(os.pathsep) if part]
        return cls(cache=cache, weights=(*folders, base / "weights"))  # the user's folders are searched first


def free_folder(parent: str, source: str | Path, fallback: str) -> Path:
    """Return PARENT/NAME-N with the first N that does not exist yet; NAME is that of `source`, else `fallback`.

    Characters other than letters, digits and "._-" become "-".
    """
    stem = Path(source).expanduser().resolve().name.split(".")[0]  # photos.tar.gz gives photos
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-") or fallback
    folders = (Path(parent) / f"{name}-{number}" for number in itertools.count(1))
    return next(folder for folder in folders if not folder.exists())
