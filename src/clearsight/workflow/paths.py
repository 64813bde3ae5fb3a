"""Where things are kept between runs. Doors make one from the environment; inside it is an argument."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """cache: scans and features, safe to delete.  weights: folders in which pretrained weights are looked for."""

    cache: Path
    weights: tuple[Path, ...]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Paths:
        """From $CLEARSIGHT_CACHE and $CLEARSIGHT_WEIGHTS (folders, separated as in $PATH), else below ~/.cache."""
        base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clearsight"
        cache = Path(environ["CLEARSIGHT_CACHE"]) if environ.get("CLEARSIGHT_CACHE") else base
        said = [Path(part) for part in environ.get("CLEARSIGHT_WEIGHTS", "").split(os.pathsep) if part]
        return cls(cache=cache, weights=(*said, base / "weights"))
