"""Checks before a run or a study: mistakes that need neither torch nor an image are said at once.

Everything imported here is free of torch, which takes seconds to load (`tests/structure/test_early_errors.py`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue, NotFound, NotResumable
from clearsight.core.folder_lock import folder_lock
from clearsight.core.format import encodable, several
from clearsight.core.recipe import Recipe
from clearsight.core.run import Resumable, Run, RunFolder
from clearsight.core.stop import StopKind
from clearsight.data.readers import check_path
from clearsight.models.early_probe import check_default_weights
from clearsight.models.model_names import check_name
from clearsight.models.weights_file import NOT_A_FILE, check_file
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.rules import check_debugging


def check_start(
    source: Path, recipe: Recipe, kind: type[Resumable[Any]], folder: Path, paths: Paths | None = None
) -> None:
    """Raise ClearsightError if a new run or study could not start.

    source: the dataset.  kind: Run or Study, which must not be in `folder` yet.  paths: where weights are searched
    before they are downloaded; None where the weights of the recipe are not used, or on other machines.
    """
    kind.check_free(folder)
    if not encodable(str(folder)):
        problem = "the name is not valid UTF-8, and no weights could be written there"
        raise BadValue(f"--out {str(folder)!a}", problem, fix="Choose another name.")
    check_path(source.expanduser(), recipe.data.format)
    if recipe.model.weights not in NOT_A_FILE:
        check_file(Path(recipe.model.weights).expanduser())
    check_name(recipe.model.model)
    check_debugging(recipe.debug)
    if paths is not None and recipe.model.weights == "default":  # last: it may take two seconds
        check_default_weights(recipe.model.model, paths.weights, paths.torch_hub)


def check_checkpoint(run: Run) -> None:
    """Raise NotResumable if a run has a best epoch and its newest checkpoint is gone: it would begin again over it."""
    newest, best = run.checkpoints / "newest.safetensors", run.checkpoints / "best.safetensors"
    if newest.is_file() or not (best.is_file() or run.best_epoch):
        return
    fix = f"Put it back, or start a new run: clearsight train {run.data.get('path', 'DATA')}"
    fix += f" --weights {run.path}." if run.has_bundle else "."
    raise NotResumable(str(newest), "the newest checkpoint is gone, and the run has trained before", fix=fix)


def check_epochs(run: Run, epochs: int) -> None:
    """Raise BadValue if a run cannot go on to so many epochs in all."""
    flag, trained = f"--epochs {epochs}", len(run.epochs())
    # Raises for a number out of range, and reads the text of a flag.
    epochs = run.recipe.replace(epochs=epochs).train.resolved_epochs
    if epochs < trained:
        raise BadValue(flag, f"the run has trained {several(trained, 'epoch')} already", fix="Pass more.")
    if run.stop_kind is StopKind.PATIENCE and epochs > trained:
        problem = f"the run ended after {run.recipe.train.patience} epochs without a better {run.recipe.train.monitor}"
        raise BadValue(flag, problem, fix="Start a new run with a larger --patience, or with --weights of this one.")


def run_lock(path: Path) -> AbstractContextManager[None]:
    """Return the lock of a run folder; entering it raises NotResumable if another process writes there."""
    return folder_lock(RunFolder(path).lock, "run")


def check_resume(run: Run, data: Path | None) -> Path:
    """Return the path of the dataset with which a run continues; raises NotFound if it is not there.

    data: where the dataset is now; None for the path that the run began with.
    """
    source = data.expanduser().resolve() if data is not None else Path(run.data["path"])
    if data is None and not source.exists():
        fix = f"If they were moved, write: clearsight train NEW_PATH --resume {run.path}"
        raise NotFound(str(source), "the data of this run no longer exist there", fix=fix)
    check_path(source)
    return source
