"""Launch of a training run: a new one, with repairs where the recipe asks for them, or a resumed one."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Collection
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from clearsight.core.errors import BadValue, ClearsightError
from clearsight.core.events import RunStatus
from clearsight.core.files import write_json
from clearsight.core.machine import process_identity
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run, RunFolder
from clearsight.workflow.prepare.defaults import weights_path
from clearsight.workflow.prepare.phases import check_batches
from clearsight.workflow.run.changed_images import check_same_images, write_images
from clearsight.workflow.run.checks import check_resume, run_lock
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.debugging import actions
from clearsight.workflow.run.execute import begin_run, execute, make_setup, run_process
from clearsight.workflow.run.repair import repair, short_recipe, valid_score
from clearsight.workflow.run.restore import resume_notes
from clearsight.workflow.run.rules import only_trusted
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
    with ExitStack() as held:
        run = _train(source, path, launch, unset, held, recipe)
        if not attempts:
            return run
        # Nothing is unset in a repair: it keeps the settings that --auto-tune has measured.
        again = partial(_train, source, path, launch, (), None)
        compare = partial(_compare, source, path, launch) if short_recipe(run.recipe) is not None else None
        return repair(run, again, most=attempts, monitor=recipe.train.monitor, compare=compare)


def _compare(source: Path, path: Path, launch: LaunchContext, recipe: Recipe) -> float | None:
    """Return the validation score of a short training, which leaves nothing behind; None if it was interrupted."""
    short = short_recipe(recipe) or recipe
    folder = RunFolder(path).comparison
    try:
        run = _train(source, folder, replace(launch, ending="record", observers=()), (), None, short)
        return None if run.status is RunStatus.INTERRUPTED else valid_score(run, recipe.train.monitor)
    except ClearsightError:  # a candidate that cannot be trained is no reason to lose the others
        return -math.inf
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _train(
    source: Path, path: Path, launch: LaunchContext, unset: Collection[str], held: ExitStack | None, recipe: Recipe
) -> Run:
    """Train into the folder `path`. held: receives the lock of the folder; None if it is held already."""
    if held is None:  # a further training of the same command
        launch = replace(launch, started=time.monotonic())
    with run_process(recipe, launch.world) as placement:
        setup = make_setup(source, recipe, placement, launch)
        tuning = None
        if recipe.profile.auto_tune:
            setup, tuning = apply_auto_tune(setup, unset)
        check_batches(setup)
        if launch.world.leads:
            if held is not None:
                path.mkdir(parents=True, exist_ok=True)  # not before: mistakes of the user leave no folder
                held.enter_context(run_lock(path))
            # Of the setup: --auto-tune may have chosen another placement.
            run = begin_run(path, source, setup, setup.placement, launch.command)
            if launch.ending == "deliver":  # not each trial of a study, which all have the same images
                write_images(run.files.images, setup.data)
        if tuning is not None:
            write_json(RunFolder(path).auto_tune, tuning.to_json())
        launch.world.wait()  # the other ranks open the run that rank 0 has made
        return execute(Run.open(path), setup, launch)


def resume_run(
    path: Path,
    launch: LaunchContext,
    time_limit: float | None = None,
    data: Path | None = None,
    epochs: int | None = None,
    accept_replaced: bool = False,
) -> Run:
    """Continue the interrupted run in `path`; a finished one only gets its model and scores again.

    data: where the dataset is now, if it was moved.  accept_replaced: go on where images have another content.
    epochs: of the whole run, if it is to have others.
    Raises NotFound without the data, NotResumable when they are not those that the run began with.
    """
    Run.open(path)  # raises where there is none, before a lock is made
    with run_lock(path) if launch.world.leads else nullcontext():
        return _resume(Run.open(path), launch, time_limit, data, epochs, accept_replaced)


def _resume(
    run: Run,
    launch: LaunchContext,
    time_limit: float | None,
    data: Path | None,
    epochs: int | None,
    accept_replaced: bool,
) -> Run:
    written, before = run.recipe, run.recipe.train.resolved_epochs
    if epochs is not None:
        written = written.replace(epochs=epochs)
    run.recipe = only_trusted(written.replace(time_limit=time_limit), launch.trusted, run.files.recipe)
    recipe, source = run.recipe, check_resume(run, data)
    with run_process(recipe, launch.world) as placement:
        setup = make_setup(source, recipe, placement, launch, run)
        check_same_images(run, setup.data, source, accept_replaced=accept_replaced)
        run.data["path"] = str(source)
        if recipe.train.resolved_epochs != before and launch.world.leads:
            _write_epochs(run, written)
        run.process = process_identity()
        run.end(RunStatus.RUNNING)
        if launch.world.leads:
            run.save()  # who reads the run now must not take it for interrupted
        return execute(run, setup, launch, resume_notes(run, before))


def _write_epochs(run: Run, recipe: Recipe) -> None:
    """Write a changed number of epochs into recipe.yaml; a second training up to another best epoch is dropped."""
    recipe.write(run.files.recipe, run.weights_comment())
    shutil.rmtree(run.files.refit_checkpoints, ignore_errors=True)
    run.files.refit_metrics.unlink(missing_ok=True)
