"""fit: from a dataset and a recipe to a finished run; and resume, to go on with one that was interrupted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue, NotResumable
from clearsight.core.events import RunStatus
from clearsight.core.files import write_json
from clearsight.core.machine import versions
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.workflow.prepare.defaults import weights_path
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.debugging import actions
from clearsight.workflow.run.execute import data_facts, execute, hardware_facts, make_setup, run_process
from clearsight.workflow.run.repair import repair
from clearsight.workflow.speed.auto_tune import apply_auto_tune


def fit(
    data: str | Path,
    *,
    out: str | Path,
    recipe: Recipe | str | Path | None = None,
    around: LaunchContext | None = None,
    **settings: Any,
) -> Run:
    """Train on the dataset at `data` into the new run folder `out`; returns the run, whose status says how it ended.

    recipe: a Recipe or a YAML file.  settings: recipe fields by name, put over it (`lr=1e-3, epochs=5`).
    Mistakes of the user are raised as ClearsightError before a run folder exists.
    """
    around = around or LaunchContext()
    base = Recipe.load(Path(recipe)) if isinstance(recipe, str | Path) else recipe or Recipe()
    chosen = base.replace(**settings) if settings else base
    unsaid = _unsaid(base, settings)
    chosen = chosen.replace(weights=weights_path(chosen.model.weights))
    path, source = Path(out), Path(data).expanduser().resolve()
    Run.check_free(path)
    attempts = chosen.debug.repair or int(any(action.verb == "retry" for action in actions(chosen.debug)))
    if chosen.profile.auto_tune and around.world.size > 1:
        raise BadValue("--auto-tune", "it works in one process only", fix="Start it without torchrun.")
    if attempts and around.world.size > 1:
        raise BadValue("--repair", "it works in one process only", fix="Start it without torchrun.")
    run = _fit(source, path, chosen, around, unsaid)
    if not attempts:
        return run
    return repair(run, partial(_again, source, path, around), most=attempts, monitor=chosen.train.monitor)


def _again(source: Path, path: Path, around: LaunchContext, mended: Recipe) -> Run:
    return _fit(source, path, mended, around, ())


def _unsaid(base: Recipe, settings: Mapping[str, Any]) -> frozenset[str]:
    """Fields that nobody decided: not among the settings, and in the recipe as they are by default."""
    usual = Recipe().flat()
    return frozenset(name for name, value in base.flat().items() if name not in settings and value == usual[name])


def _fit(source: Path, path: Path, chosen: Recipe, around: LaunchContext, unsaid: Collection[str]) -> Run:
    """One training, from nothing to its end. unsaid: fields that tuning may decide."""
    with run_process(chosen, around.world) as placement:
        setting = make_setup(source, chosen, placement, around)
        tuning = None
        if chosen.profile.auto_tune:
            setting, tuning = apply_auto_tune(setting, unsaid)
        if around.world.leads:
            Run.begin(
                path,
                setting.recipe,
                data=data_facts(source, setting),
                versions=versions(),
                hardware=hardware_facts(placement),
                command=list(around.command),
            )
        if tuning is not None:
            write_json(path / "auto_tune.json", tuning.to_json())
        around.world.wait()
        return execute(Run.open(path), setting, around)


def resume(path: str | Path, *, around: LaunchContext | None = None, time_limit: float | None = None) -> Run:
    """Go on with an interrupted run; one that is finished already only gets its results again.

    Raises NotResumable when the data or the weights are no longer what the run began with.
    """
    around, run = around or LaunchContext(), Run.open(Path(path))
    recipe = run.recipe.replace(time_limit=time_limit)
    with run_process(recipe, around.world) as placement:
        source = Path(run.data["path"])
        setting = make_setup(source, recipe, placement, around)
        if data_facts(source, setting)["fingerprint"] != run.data["fingerprint"]:
            raise NotResumable(
                str(source), "the data have changed since the run began", fix="Restore them, or start a new run."
            )
        run.status, run.reason = RunStatus.RUNNING, ""
        return execute(run, setting, around)
