"""Checks before a run or a study: mistakes that need neither torch nor an image are said at once.

Everything imported here is free of torch, which takes seconds to load (`tests/structure/test_early_errors.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.format import encodable
from clearsight.core.recipe import Recipe
from clearsight.core.run import Resumable, Run
from clearsight.data.readers import check_path
from clearsight.models.weights_file import NOT_A_FILE, check_file
from clearsight.workflow.run.rules import check_debugging


def check_start(source: Path, recipe: Recipe, kind: type[Resumable[Any]], folder: Path) -> None:
    """Raise ClearsightError if a new run or study could not start.

    source: the dataset.  kind: Run or Study, which must not be in `folder` yet.
    """
    kind.check_free(folder)
    if not encodable(str(folder)):
        problem = "the name is not valid UTF-8, and no weights could be written there"
        raise BadValue(f"--out {str(folder)!a}", problem, fix="Choose another name.")
    check_path(source.expanduser(), recipe.data.format)
    if recipe.model.weights not in NOT_A_FILE:
        check_file(Path(recipe.model.weights).expanduser())
    check_debugging(recipe.debug)


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
