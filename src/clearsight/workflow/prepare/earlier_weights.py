"""Weights of an earlier run: `--weights` takes a run, a bundle, a packed bundle, or last."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from clearsight.core.bundle import MANIFEST, Bundle, open_unpacked
from clearsight.core.errors import BadChoice
from clearsight.core.files import sha256, unpack
from clearsight.core.recipe import Recipe
from clearsight.workflow.paths import latest

_ARCHIVES = (".tar.gz", ".tgz")


def start_from_earlier(recipe: Recipe, unset: Collection[str], cache: Path) -> Recipe:
    """Return the recipe with the weights file of an earlier run's bundle, and with its model and head.

    unset: settings that nobody set; a model that was set must be that of the bundle.  cache: where archives are
    unpacked.  Other weights stay as they are.
    Raises BadBundle for a run without a model or a damaged bundle, NotFound for `last` without a run, BadChoice for
    another model.
    """
    weights = recipe.model.weights
    path = Path(weights).expanduser()
    if weights == "last" and not path.exists():
        path = latest(["runs"], with_model=True)
    if not (path.is_dir() or (path.is_file() and path.name.endswith(_ARCHIVES))):
        return recipe
    bundle = Bundle.open(path) if path.is_dir() else open_unpacked(_unpacked(path, cache), path)
    changes: dict[str, object] = {"weights": str(bundle.weights.resolve())}
    if "model" in unset:
        changes["model"] = bundle.model
    elif recipe.model.model != bundle.model:
        problem = f"the weights of {path} are of {bundle.model}"
        raise BadChoice(f"--model {recipe.model.model}", problem, fix="Leave --model out to take that model.")
    if "head" in unset:
        changes["head"] = bundle.head
    return recipe.replace(**changes)


def _unpacked(archive: Path, cache: Path) -> Path:
    """Return the folder with the bundle of an archive, unpacked once and kept, since a resumed run reads it again."""
    folder = cache / "bundles" / sha256(archive)[:16]
    if not (folder / MANIFEST).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            unpack(archive, part)
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder
