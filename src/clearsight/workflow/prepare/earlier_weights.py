"""Weights of an earlier run: `--weights` takes a run, a bundle, a packed bundle, or last."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from clearsight.core.bundle import Bundle, open_unpacked
from clearsight.core.cache import note_damaged, note_unusable, remove_parts
from clearsight.core.errors import BadBundle, BadChoice, DiskFull, NotFound
from clearsight.core.files import sha256, unpack
from clearsight.core.part_files import part_folder
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
    bundle = Bundle.open(path) if path.is_dir() else _unpacked(path, cache)
    changes: dict[str, object] = {"weights": str(bundle.weights.resolve())}
    if "model" in unset:
        changes["model"] = bundle.model
    elif recipe.model.model != bundle.model:
        problem = f"the weights of {path} are of {bundle.model}"
        raise BadChoice(f"--model {recipe.model.model}", problem, fix="Leave --model out to take that model.")
    if "head" in unset:
        changes["head"] = bundle.head
    return recipe.replace(**changes)


def _unpacked(archive: Path, cache: Path) -> Bundle:
    """Return the bundle in an archive, unpacked once and kept, since a resumed run reads it again.

    Where the cache cannot be written it is unpacked for this process alone.
    """
    folder = cache / "bundles" / sha256(archive)[:16]
    remove_parts(folder.parent)
    try:
        return open_unpacked(folder, archive)
    except NotFound:
        pass  # not yet
    except (BadBundle, OSError):
        note_damaged(folder, "weights")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with part_folder(folder) as part:
            unpack(archive, part)
            open_unpacked(part, archive)  # raises for the archive itself before anything is replaced
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
    except (OSError, DiskFull) as error:
        note_unusable(cache, error)
        folder = Path(tempfile.mkdtemp(prefix="clearsight-weights-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        unpack(archive, folder)
    return open_unpacked(folder, archive)
