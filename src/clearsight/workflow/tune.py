"""tune: search the settings of a recipe, and make a model of the best that was found."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadData, BadValue
from clearsight.core.executor import Executor, closing
from clearsight.core.machine import hardware, versions
from clearsight.core.recipe import Recipe
from clearsight.core.space import Space
from clearsight.core.study import Study, StudyObserver, StudyPlan, StudyStatus
from clearsight.data.scan import drop_bad_images
from clearsight.training.stop import StopSignal
from clearsight.tuning.executors.local import LocalExecutor
from clearsight.tuning.storage.shared_study import check_storage
from clearsight.tuning.trial_store import TrialStore, lock_study
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, list_dataset, quiet, scan_dataset
from clearsight.workflow.prepare.defaults import weights_path
from clearsight.workflow.study.best import deliver_best
from clearsight.workflow.study.executor import build_executor
from clearsight.workflow.study.plan import (
    SpaceWords,
    check_plan,
    free_folder,
    most_epochs,
    objectives_of,
    pruner_of,
    searcher_of,
    space_of,
)
from clearsight.workflow.study.report import write_study_report
from clearsight.workflow.study.tasks import TrialTasks
from clearsight.workflow.study.warm_start import check_warm_start, import_earlier_trials

_TRIALS = 20  # where nobody said how many, and there is no end of points

# What is said of a study and not of a recipe.
_PLANNED = frozenset(StudyPlan.__dataclass_fields__) - {"data", "space", "objectives", "seed"}


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """What surrounds a study without deciding what it finds: who watches, where caches lie, who asked.

    gpus: that this machine has, for workers to share.
    """

    observers: Sequence[StudyObserver] = ()
    places: Paths | None = None
    progress: Progress = quiet
    command: Sequence[str] = ()
    gpus: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def kept(self) -> Paths:
        """The places that were said, or the user's own."""
        return self.places or Paths.of({})


def tune(
    data: str | Path,
    *,
    space: SpaceWords = None,
    vary: str | Sequence[str] = (),
    metric: str | Sequence[str] = (),
    out: str | Path | None = None,
    name: str = "",
    recipe: Recipe | str | Path | None = None,
    around: StudyContext | None = None,
    **settings: Any,
) -> Study:
    """Search over a recipe on the dataset at `data`, in the new study folder `out`; returns the study with its best.

    space: {"lr": "log(1e-5,1e-1)", "batch_size": [16, 32]}, words like those of --space, or a Space.  vary: fields
    over their usual ranges.  metric: one objective or several, "accuracy" or "loss:minimize".  name: of the study in a
    shared storage.  settings: fields of StudyPlan (trials=20, parallel=2, searcher="tpe", time_limit=600.0, ...) and of
    the recipe that is varied (model="resnet34", freeze="backbone", ...).
    Mistakes are raised as ClearsightError before anything is begun.
    """
    around = around or StudyContext()
    base = Recipe.load(Path(recipe)) if isinstance(recipe, str | Path) else recipe or Recipe()
    base = base.replace(**{key: value for key, value in settings.items() if key not in _PLANNED})
    base = base.replace(weights=weights_path(base.model.weights), auto_tune=False, repair=0)
    plan = _planned(data, settings, space_of(_several(vary), space, base), _several(metric), base)
    base = _monitoring(base, plan)
    path = Path(out) if out is not None else free_folder(data)
    Study.check_free(path)
    facts = {"command": list(around.command), "versions": _versions(), "hardware": hardware()}
    with _no_trace(path), _workers(plan, base, around, path) as executor:
        notes = _check_data(plan, base, around)
        check_warm_start(plan)
        if plan.storage:
            check_storage(plan, name or path.name)
        return _led(Study.begin(path, plan, base, name=name, **facts), executor, around, notes)


def resume_study(path: str | Path, *, around: StudyContext | None = None, **changes: Any) -> Study:
    """Go on with a study, also one that has ended, with some of its plan changed (`trials=40`, `time_limit=None`)."""
    around, study = around or StudyContext(), Study.open(Path(path))
    if changes.get("on") == "local":  # shares of a cluster are none of this machine
        changes = {"cpus_per_trial": None, "gpus_per_trial": None, **changes}
    study.plan = _sized(replace(study.plan, **changes))
    check_plan(study.plan)
    with lock_study(study):
        pass  # said before workers are started in vain
    with _workers(study.plan, study.recipe, around, study.path) as executor:
        return _led(study, executor, around, _check_data(study.plan, study.recipe, around))


def _led(study: Study, executor: Executor, around: StudyContext, notes: Sequence[str]) -> Study:
    """Lead a study to an end, make the model of its best trial, and write what was learned.

    notes: what is to be said of the data once the study has begun.
    """
    began, before, stop = time.monotonic(), study.seconds, StopSignal()
    with lock_study(study), _opened(study) as ledger, stop.listening():
        study.status, study.reason = StudyStatus.RUNNING, ""
        study.save()
        import_earlier_trials(study, ledger)
        tasks = TrialTasks(study)
        conductor = tasks.conductor(ledger, executor, around.observers, lambda: stop.reason)
        for observer in around.observers:
            observer.on_begin(study, ledger.trials())
            for note in notes:
                observer.on_trouble(note)
        status, reason = conductor.run()
        if status is not StudyStatus.INTERRUPTED:
            reason = deliver_best(study, ledger.trials(), conductor, tasks) or reason
        study.seconds = before + time.monotonic() - began
        ledger.flush()
        study.finish(status, reason)
        write_study_report(study, ledger.trials())
    for observer in around.observers:
        observer.on_end(study.status, study.reason)
    return study


def _planned(
    data: str | Path, settings: Mapping[str, Any], space: Space, metrics: Sequence[str], base: Recipe
) -> StudyPlan:
    """The plan that the settings of `tune` come to, checked."""
    said = {key: value for key, value in settings.items() if key in _PLANNED and value is not None}
    given = said.pop("trials", None)
    said["warm_start"] = tuple(map(str, _several(said.get("warm_start", ()))))
    plan = StudyPlan(
        data=str(Path(data).expanduser().resolve()),
        space=space,
        objectives=objectives_of(metrics, base),
        trials=_TRIALS if given is None else given,
        seed=base.train.seed,
        **said,
    )
    if given is None and (size := searcher_of(plan.searcher).size(space)) is not None:
        plan = replace(plan, trials=size)
    check_plan(plan)
    return _sized(plan)


def _several(said: Any) -> Sequence[Any]:
    """Some things where one of them may stand alone."""
    return [said] if isinstance(said, str | Path) else said


def _sized(plan: StudyPlan) -> StudyPlan:
    """The plan with no more trials than there are points."""
    size = searcher_of(plan.searcher).size(plan.space)
    if size is None or size >= plan.trials:
        return plan
    return replace(plan, trials=size, parallel=min(plan.parallel, size))


def _monitoring(base: Recipe, plan: StudyPlan) -> Recipe:
    """The recipe with each run's best epoch picked by what the study aims at."""
    return base if "monitor" in plan.space.names else base.replace(monitor=plan.objectives[0].metric)


def _check_data(plan: StudyPlan, base: Recipe, around: StudyContext) -> list[str]:
    """Raise BadData or BadValue for data on which trials cannot be compared. Images are looked at once, here.

    Returns what is to be said of those that no trial will see.
    """
    listing = list_dataset(Path(plan.data), base.data, base.train.seed)
    data = drop_bad_images(listing, scan_dataset(listing, base.data, around.kept, around.progress), base.data.on_bad)
    if not len(data.split("train")):
        raise BadData(data.path, "it has no training images", fix="Add a train folder, or say --split-column.")
    if not len(data.split("valid")):
        raise BadData(data.path, "it has no validation images to compare trials by", fix="Raise --valid-fraction.")
    if any(one.metric == "roc_auc" for one in plan.objectives) and len(data.classes) != 2:
        raise BadValue("--metric roc_auc", f"it is for two classes, these data have {len(data.classes)}")
    return [notice.text for notice in data.notices if notice.code == "bad-image"]


@contextmanager
def _workers(plan: StudyPlan, base: Recipe, around: StudyContext, path: Path) -> Iterator[Executor]:
    """The executor of a study; workers begin to import what they need while we look at the data."""
    with closing(build_executor(plan, base, around.kept, path / "workers", around.gpus)) as executor:
        if isinstance(executor, LocalExecutor):
            executor.warm(plan.parallel)
        yield executor


@contextmanager
def _opened(study: Study) -> Iterator[TrialStore]:
    """The record of a study, with everything written at the end."""
    pruner = pruner_of(study.plan, study.recipe)
    ledger = TrialStore(study, searcher_of(study.plan.searcher), pruner, most_epochs(study.plan, study.recipe))
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def _no_trace(path: Path) -> Iterator[None]:
    """Where the block fails before a study was begun, nothing of it stays on disk."""
    new = [one for one in (path / "workers", path, *path.parents) if not one.exists()]
    try:
        yield
    finally:
        if new and not Study.is_one(path):
            shutil.rmtree(new[0], ignore_errors=True)  # the rest goes where nobody else has put anything there since
            for folder in new[1:]:
                with suppress(OSError):
                    folder.rmdir()


def _versions() -> dict[str, str]:
    return versions(("clearsight", "torch", "torchvision", "timm", "optuna", "numpy"))
