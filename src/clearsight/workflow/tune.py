"""tune: search the settings of a recipe, and make a model of the best trial; and resume_study, to continue a study."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from clearsight.core.errors import NotFound
from clearsight.core.machine import hardware, versions
from clearsight.core.recipe import Recipe
from clearsight.core.settings import declared
from clearsight.core.space import Space
from clearsight.core.study import Study, StudyPlan
from clearsight.tuning.storage.optuna_storage import check_storage, with_storage
from clearsight.workflow.paths import latest, new_folder
from clearsight.workflow.prepare.defaults import unset_fields, weights_path
from clearsight.workflow.prepare.earlier_weights import start_from_earlier
from clearsight.workflow.run.changed_images import write_images
from clearsight.workflow.run.checks import check_start
from clearsight.workflow.run.rules import check_code, check_recipe_file, code_of_recipe, code_of_space, only_trusted
from clearsight.workflow.study.lead import (
    StudyContext,
    check_data,
    check_same_data,
    check_warm_start,
    check_weights,
    data_notes,
    images_file,
    lead_study,
    start_workers,
    weights_are_fixed,
)
from clearsight.workflow.study.plan import (
    SpaceSource,
    check_plan,
    objectives_of,
    resolve_freeze,
    searcher_of,
    space_of,
)

_PLAN_FIELDS = frozenset(declared(StudyPlan))  # settings of the study; all others are settings of the recipe
_PACKAGES = ("clearsight", "torch", "torchvision", "timm", "optuna", "numpy")  # versions in study.json

_HEADS = "Trials train the head on cached features, in seconds each. --freeze none trains the whole network in each."


def tune(
    data: str | Path,
    *,
    space: SpaceSource = None,
    vary: str | Sequence[str] = (),
    metric: str | Sequence[str] = (),
    out: str | Path | None = None,
    name: str = "",
    recipe: Recipe | str | Path | None = None,
    launch: StudyContext | None = None,
    **settings: Any,
) -> Study:
    """Search over a recipe on the dataset at `data`, in the new study folder `out`; return the study.

    space: {"lr": "log(1e-5,1e-1)", "batch_size": [16, 32]}, text as for --space, or a Space.  vary: settings over their
    usual ranges.  metric: one objective or several, "accuracy" or "loss:minimize".  name: of the study in a shared
    storage.  settings: fields of StudyPlan (trials=20, parallel=2, searcher="tpe", time_limit=600.0, ...) and of the
    recipe (model="resnet34", freeze="backbone", ...).
    Mistakes of the user are raised as ClearsightError before a study folder exists.
    """
    launch = launch or StudyContext()
    base = Recipe.load(Path(recipe)) if isinstance(recipe, str | Path) else recipe or Recipe()
    unset = unset_fields(base) - settings.keys()
    base = base.replace(**{key: value for key, value in settings.items() if key not in _PLAN_FIELDS})
    base = start_from_earlier(base, unset, launch.paths.cache)
    # Choosing settings by speed and repairing them would change what the search varies.
    base = base.replace(weights=weights_path(base.model.weights), auto_tune=False, repair=0)
    searched = space_of(_as_list(vary), space, base)
    is_auto = base.model.freeze == "auto"
    accelerated = bool(launch.gpus) or settings.get("on") not in (None, "local")
    base = resolve_freeze(base, searched.names, accelerated=accelerated)
    if isinstance(recipe, str | Path):
        check_recipe_file(base, recipe, settings.keys(), launch.trusted)
    if launch.trusted is not None:  # the values of the space are the caller's own
        launch = replace(launch, trusted={*launch.trusted, *code_of_recipe(base), *code_of_space(searched)})
    plan = _make_plan(data, settings, searched, _as_list(metric), base)
    if "monitor" not in plan.space.names:  # the best epoch of a trial is chosen by the metric that compares trials
        base = base.replace(monitor=plan.objectives[0].metric)
    with new_folder(out, "studies", data, "study") as path:
        paths = launch.paths if weights_are_fixed(plan) else None
        check_start(Path(data), base, Study, path, paths)  # again later, but workers and the scan come first
        facts: dict[str, Any] = {
            "command": list(launch.command),
            "versions": versions(_PACKAGES),
            "hardware": hardware(),
        }
        with _remove_unless_begun(path), start_workers(plan, base, launch, path) as executor:
            check_weights(plan, base, launch.paths)
            images = check_data(plan, base, launch)  # while the workers import torch
            notes = data_notes(images)
            if is_auto and base.model.freeze == "backbone":
                notes.append(_HEADS)
            check_warm_start(plan)
            if plan.storage:
                check_storage(plan, name or path.name)
            study = Study.begin(path, plan, base, name=name, **facts)
            write_images(images_file(path), images)
            return lead_study(study, executor, launch, notes)


def resume_study(
    path: str | Path, *, data: str | Path | None = None, launch: StudyContext | None = None, **changes: Any
) -> Study:
    """Continue a study, also one that has ended, with changes to its plan (`trials=40`, `time_limit=None`).

    data: where the dataset is now, if it was moved.  storage: the URL that the study began with, once more, where it
    holds a password: a study does not keep one.
    Raises NotFound without the study or its data, NotResumable when the data are not those that the study began with.
    """
    launch, study = launch or StudyContext(), Study.open(Path(path))
    study.plan = with_storage(study.plan, changes.get("storage"))
    study.recipe = only_trusted(study.recipe, launch.trusted, study.path / "recipe.yaml")
    check_code(code_of_space(study.plan.space), study.path / "study.json", launch.trusted)
    if changes.get("on") == "local":  # the shares of a cluster mean nothing on this machine
        changes = {"cpus_per_trial": None, "gpus_per_trial": None, **changes}
    if data is not None:
        changes["data"] = str(Path(data).expanduser().resolve())
    study.plan = _limit_to_space(study.plan.replace(**changes))
    check_plan(study.plan)
    if not (source := Path(study.plan.data)).exists():
        fix = "" if data is not None else f"If they were moved, write: clearsight tune NEW_PATH --resume {study.path}"
        raise NotFound(str(source), "the data of this study are not there", fix=fix)
    with study.lock():
        pass  # raises before workers are started for a study that another process works on
    with start_workers(study.plan, study.recipe, launch, study.path) as executor:
        check_weights(study.plan, study.recipe, launch.paths)
        images = check_data(study.plan, study.recipe, launch)
        check_same_data(study, images)
        notes = data_notes(images)
        if data is not None and not images_file(study.path).is_file():
            notes.append("The study is of an earlier version: nothing tells if these are its images.")
        return lead_study(study, executor, launch, notes)


def _make_plan(
    data: str | Path, settings: Mapping[str, Any], space: Space, metrics: Sequence[str], base: Recipe
) -> StudyPlan:
    chosen = {key: value for key, value in settings.items() if key in _PLAN_FIELDS and value is not None}
    # The path and not the word: another study may be the newest one when this one is resumed.
    chosen["warm_start"] = tuple(map(_study_path, map(str, _as_list(chosen.get("warm_start", ())))))
    values = {"space": space, "objectives": objectives_of(metrics, base), "seed": base.train.seed, **chosen}
    # Absolute, because a study may be resumed from another directory.
    plan = StudyPlan.parse({"data": str(Path(data).expanduser().resolve()), **values})
    if "trials" not in chosen and (size := searcher_of(plan.searcher).size(space)) is not None:
        plan = plan.replace(trials=size)
    check_plan(plan)
    return _limit_to_space(plan)


def _limit_to_space(plan: StudyPlan) -> StudyPlan:
    """Return the plan with no more trials than its searcher can propose."""
    size = searcher_of(plan.searcher).size(plan.space)
    if size is None or size >= plan.trials:
        return plan
    return plan.replace(trials=size, parallel=min(plan.parallel, size))


def _study_path(source: str) -> str:
    """Return the newest study for "last", unless something of that name is there; any other source as it is."""
    return str(latest(["studies"]).resolve()) if source == "last" and not Path(source).exists() else source


def _as_list(value: Any) -> Sequence[Any]:
    """Return a single text or path as a list of one; any other sequence as it is."""
    return [value] if isinstance(value, str | Path) else value


@contextmanager
def _remove_unless_begun(path: Path) -> Iterator[None]:
    """Remove the folders that the block has made for a study at `path`, if the study has not begun at its end."""
    new_folders = [folder for folder in (path / "workers", path, *path.parents) if not folder.exists()]
    try:
        yield
    finally:
        if new_folders and not Study.exists(path):
            shutil.rmtree(new_folders[0], ignore_errors=True)
            for folder in new_folders[1:]:
                with suppress(OSError):  # not empty: something else was put there meanwhile
                    folder.rmdir()
