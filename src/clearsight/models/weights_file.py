"""Weights files on disk: which belong to a model, which were downloaded, and the classes of those of a run.

Without torch, so that they can be listed, and a wrong path said, at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from clearsight.core.bundle import MANIFEST
from clearsight.core.errors import BadValue, ClearsightError, NotFound, WeightsUnavailable, nearest
from clearsight.core.files import read_json

PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".tar")
NOT_A_FILE = ("default", "none")  # words that `--weights` takes beside paths
HUGGING_FACE, TORCH = "hf:", "torch:"  # what a download begins with, before the repository or the file of the hub


def candidates(model: str, folders: Iterable[Path]) -> list[Path]:
    """Return the weights files for `model` in `folders`, nearest name first: <model>.safetensors, <model>_<more>.pth.

    A "/" in the name may be "_" or "-" in the file's name, or the part before it may be missing.
    """
    stems = list(dict.fromkeys((model.replace("/", "_"), model.replace("/", "-"), model.rpartition("/")[2])))
    found = []
    for folder in folders:
        for path in files_in(folder):
            rest = next((path.stem[len(stem) :] for stem in stems if path.stem.startswith(stem)), None)
            if path.suffix in (".safetensors", ".pth") and rest is not None and (not rest or rest[0] in "_-."):
                found.append((len(rest), path.suffix != ".safetensors", path))
    return [path for *_, path in sorted(found, key=lambda entry: entry[:2])]


def files_in(folder: Path) -> list[Path]:
    """Return what is in a folder, by name; nothing where there is no folder, or none that can be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def check_file(path: Path) -> None:
    """Raise NotFound if there is no weights file at `path`, BadValue if its type cannot be read."""
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, names)
        hint = f"Did you mean {path.parent / near}? " if near else ""
        fix = f"{hint}Pass default, none, a .safetensors or .pth file, a run or a bundle."
        raise NotFound(f"--weights {path}", "there is no such file", fix=fix)
    if path.suffix != ".safetensors" and path.suffix not in PICKLED:
        problem = f"files of type {path.suffix or 'none'} cannot be read, only .safetensors and .pth"
        raise BadValue(f"--weights {path}", problem)


def unavailable(model: str, folders: Sequence[Path], reason: str) -> WeightsUnavailable:
    """Return the error for default weights that are in none of `folders`. reason: why they are not downloaded."""
    searched = " or ".join(str(folder) for folder in folders) or "no folder (none is set)"
    file = f"{model.rpartition('/')[2]}.safetensors"
    problem = f"{reason}, and there is no file for {model}. Looked for {file} in {searched}"
    fix = "Put the file there, pass --weights FILE, or pass --weights none to start from random."
    return WeightsUnavailable("weights", problem, fix=fix)


def classes_of(path: Path) -> tuple[str, ...] | None:
    """Return the classes of the bundle that the weights file at `path` belongs to, None for any other file."""
    manifest = path.parent / MANIFEST
    if not manifest.is_file():
        return None
    try:
        classes = read_json(manifest)["classes"]
    except (ClearsightError, KeyError, TypeError):
        return None  # another program's bundle.json
    return tuple(map(str, classes)) if isinstance(classes, list) else None


def on_disk(names: Iterable[str], folders: Iterable[Path]) -> set[str]:
    """Return the models that have a file in `folders`."""
    files = [folder for folder in folders if files_in(folder)]
    return {name for name in names if candidates(name, files)} if files else set()


def downloaded(download: str, torch_hub: Path) -> Path | None:
    """Return the file that a provider's download has left in the cache of its hub, None if it is not there.

    download: "hf:<repository>" or "torch:<file>"; any other text is in no cache.  torch_hub: the folder of torch.hub.
    """
    if download.startswith(HUGGING_FACE):
        from huggingface_hub import try_to_load_from_cache

        repository = download.removeprefix(HUGGING_FACE)
        found = [try_to_load_from_cache(repository, file) for file in ("model.safetensors", "pytorch_model.bin")]
        return next((Path(path) for path in found if isinstance(path, str)), None)
    if download.startswith(TORCH):
        path = torch_hub / "checkpoints" / download.removeprefix(TORCH)
        return path if path in files_in(path.parent) and path.is_file() else None
    return None
