"""train: from a dataset and a recipe to a finished run; and resume, to continue one that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.workflow.prepare.defaults import unset_fields
from clearsight.workflow.prepare.earlier_weights import start_from_earlier
from clearsight.workflow.run.checks import check_checkpoint, check_epochs, check_resume, check_start, run_lock
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.rules import check_recipe_file

RESUMABLE = ("time_limit", "epochs")  # settings that a run may change when it continues


def train(
    data: str | Path,
    *,
    out: str | Path,
    recipe: Recipe | str | Path | None = None,
    launch: LaunchContext | None = None,
    **settings: Any,
) -> Run:
    """Train on the dataset at `data` into the new run folder `out`; return the run, whose status says how it ended.

    recipe: a Recipe, or a YAML file, which runs no code of its own (launch.trusted).  settings: recipe fields by name,
    which override it (`lr=1e-3, epochs=5`).
    Mistakes of the user are raised as ClearsightError before a run folder exists.
    """
    base = Recipe.load(Path(recipe)) if isinstance(recipe, str | Path) else recipe or Recipe()
    overridden = base.replace(**settings) if settings else base
    launch = launch or LaunchContext()
    unset = unset_fields(base) - settings.keys()  # a default that was passed is a choice: --auto-tune keeps it
    overridden = start_from_earlier(overridden, unset, launch.paths.cache)
    if isinstance(recipe, str | Path):
        check_recipe_file(overridden, recipe, settings.keys(), launch.trusted)
    check_start(Path(data), overridden, Run, Path(out), launch.paths)
    from clearsight.workflow.run.launch import launch_run  # loads torch, after the mistakes that need none

    return launch_run(Path(data), Path(out), overridden, launch, unset)


def resume(
    path: str | Path,
    *,
    data: str | Path | None = None,
    launch: LaunchContext | None = None,
    time_limit: float | None = None,
    epochs: int | None = None,
    accept_replaced: bool = False,
) -> Run:
    """Continue an interrupted run; a finished one only gets its model and scores again, unless `epochs` adds some.

    data: where the dataset is now, if it was moved.  accept_replaced: go on where images of it have another content
    than when the run began.  The weights file of the run is not needed any more.
    epochs: of the whole run from now on; the learning rate follows the schedule of so many from where the run is.
    Raises NotFound without the run or its data, NotResumable when the data are not those that the run began with or its
    newest checkpoint is gone, BadValue for fewer epochs than were trained.
    """
    place, run = Path(data) if data is not None else None, Run.open(Path(path))
    launch = launch or LaunchContext()
    check_resume(run, place)
    if launch.world.leads:
        with run_lock(Path(path)):
            pass  # raises for a run that another process trains
    check_checkpoint(run)
    if epochs is not None:
        check_epochs(run, epochs)
    from clearsight.workflow.run.launch import resume_run  # loads torch, after the mistakes that need none

    return resume_run(Path(path), launch, time_limit, place, epochs, accept_replaced)
