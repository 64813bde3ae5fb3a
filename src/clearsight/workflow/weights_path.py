"""How a weights setting is kept in a recipe."""

from __future__ import annotations

from pathlib import Path


def weights_path(text: str) -> str:
    """A weights setting as it should be kept in a recipe: a file by its absolute path, a word as it is."""
    return text if text in ("default", "none") else str(Path(text).expanduser().resolve())
