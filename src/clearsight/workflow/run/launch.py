"""Launch of a training run: a new one, with repairs where the recipe asks for them, or a resumed one."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

from clearsight.core.errors import BadValue, NotResumable
from clearsight.core.events import RunStatus
from clearsight.core.files import write_json
from clearsight.core.machine import process_identity
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run, RunFolder
from clearsight.workflow.prepare.defaults import weights_path
from clearsight.workflow.run.checks import check_resume
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.debugging import actions
from clearsight.workflow.run.execute import begin_run, execute, make_setup, run_process
from clearsight.workflow.run.repair import repair
from clearsight.workflow.speed.auto_tune import apply_auto_tune


def launch_run(source: Path, path: Path, recipe: Recipe, launch: LaunchContext, unset: Collection[str] = ()) -> Run:
    """Train `recipe` on the dataset at `source` into the new run folder `path`.

    unset: fields that nobody set, which --auto-tune may choose.
    Raises ClearsightError for mistakes of the user before a run folder exists.
    """
    # Absolute: a resumed run may start in another folder.
    source, recipe = source.expanduser().resolve(), recipe.replace(weights=weights_path(recipe.model.weights))
    Run.check_free(path)
    attempts = recipe.debug.repair or int(any(action.verb == "retry" for action in actions(recipe.debug)))
    for flag, is_set in (("--auto-tune", recipe.profile.auto_tune), ("--repair", attempts)):
        if is_set and launch.world.size > 1:
            raise BadValue(flag, "it works in one process only", fix="Start it without torchrun.")
    run = _train(source, path, launch, unset, recipe)
    if not attempts:
        return run
    # Nothing is unset in a repair: it keeps the settings that --auto-tune has measured.
    return repair(run, partial(_train, source, path, launch, ()), most=attempts, monitor=recipe.train.monitor)


def _train(source: Path, path: Path, launch: LaunchContext, unset: Collection[str], recipe: Recipe) -> Run:
    with run_process(recipe, launch.world) as placement:
        setup = make_setup(source, recipe, placement, launch)
        tuning = None
        if recipe.profile.auto_tune:
            setup, tuning = apply_auto_tune(setup, unset)
        if launch.world.leads:
            begin_run(path, source, setup, placement, launch.command)
        if tuning is not None:
            write_json(RunFolder(path).auto_tune, tuning.to_json())
        launch.world.wait()  # the other ranks open the run that rank 0 has made
        return execute(Run.open(path), setup, launch)


def resume_run(path: Path, launch: LaunchContext, time_limit: float | None = None, data: Path | None = None) -> Run:
    """Continue the interrupted run in `path`; a finished one only gets its model and scores again.

    data: where the dataset is now, if it was moved.
    Raises NotFound without the data, NotResumable when they are not those that the run began with.
    """
    run = Run.open(path)
    recipe, source = run.recipe.replace(time_limit=time_limit), check_resume(run, data)
    with run_process(recipe, launch.world) as placement:
        setup = make_setup(source, recipe, placement, launch, run)
        # Other images would make the order of the epoch, and so the result, another one.
        if setup.data.fingerprint != run.data["fingerprint"]:
            raise NotResumable(
                str(source), "the data have changed since the run began", fix="Restore them, or start a new run."
            )
        run.data["path"] = str(source)
        run.process = process_identity()
        run.end(RunStatus.RUNNING)
        if launch.world.leads:
            run.save()  # who reads the run now must not take it for interrupted
        return execute(run, setup, launch)
