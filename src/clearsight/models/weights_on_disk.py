"""Pretrained weights on this disk: files in the searched folders, and downloads of hubs. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

HUGGING_FACE, TORCH = "hf:", "torch:"  # what a download begins with, before the repository or the file of the hub


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
