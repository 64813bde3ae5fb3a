"""Pretrained weights on this disk: files in the searched folders, and downloads of hubs. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from clearsight.models.weights_file import candidates

HUGGING_FACE, TORCH = "hf:", "torch:"  # what a download begins with, before the repository or the file of the hub


def on_disk(names: Iterable[str], folders: Iterable[Path]) -> set[str]:
    """Return the models that have a file in `folders`."""
    files = [folder for folder in folders if folder.is_dir() and any(folder.iterdir())]
    return {name for name in names if candidates(name, files)} if files else set()


def downloaded(download: str) -> Path | None:
    """Return the file that a provider's download has left in the cache of its hub, None if it is not there.

    download: "hf:<repository>" or "torch:<file>"; any other text is in no cache.
    """
    if download.startswith(HUGGING_FACE):
        from huggingface_hub import try_to_load_from_cache

        repository = download.removeprefix(HUGGING_FACE)
        found = [try_to_load_from_cache(repository, file) for file in ("model.safetensors", "pytorch_model.bin")]
        return next((Path(path) for path in found if isinstance(path, str)), None)
    if download.startswith(TORCH):
        path = _torch_hub() / "checkpoints" / download.removeprefix(TORCH)
        return path if path.is_file() else None
    return None


def _torch_hub() -> Path:
    """Return the folder of torch.hub, as torch.hub.get_dir() does without importing torch."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "torch"
    return Path(home).expanduser() / "hub"
