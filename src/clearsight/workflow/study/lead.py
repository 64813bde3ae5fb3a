"""Leading a study: its workers, the check of its data, and the work from the first trial to the report."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.dataset import Dataset
from clearsight.core.errors import BadChoice, BadData, BadValue, NotResumable
from clearsight.core.executor import Executor, ExecutorSpec
from clearsight.core.machine import cores, process_identity
from clearsight.core.recipe import Recipe
from clearsight.core.run import RunFolder
from clearsight.core.secrets import without_secrets
from clearsight.core.stop import Signalled, signal_reason
from clearsight.core.study import Study, StudyObserver, StudyPlan, StudyStatus
from clearsight.core.ties import ties
from clearsight.core.trial import Trial
from clearsight.data.scan import drop_bad_images
from clearsight.data.splits import check_trainable
from clearsight.models.early_probe import check_default_weights
from clearsight.models.weights_file import NOT_A_FILE, candidates, check_file
from clearsight.training.stop import StopSignal
from clearsight.tuning.executors import EXECUTORS
from clearsight.tuning.executors.local import LocalExecutor
from clearsight.tuning.runner import StudyRunner
from clearsight.tuning.trial_store import TrialStore, read_trials, stored_trials
from clearsight.workflow.messages import failed_step_text
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import (
    Progress,
    check_metric,
    list_dataset,
    quiet,
    scan_dataset,
    with_value_range,
)
from clearsight.workflow.run.changed_images import image_changes
from clearsight.workflow.run.final_steps import FinalSteps
from clearsight.workflow.study.plan import most_epochs, pruner_of, searcher_of, stacks
from clearsight.workflow.study.report import best_run, write_study_report
from clearsight.workflow.study.reporter import WorkerResources
from clearsight.workflow.study.tasks import TrialTasks

# What a user must know before hours of trials; remarks on the balance of classes are in the report of each.
_SHOWN_NOTICES = frozenset(
    [
        *(
            "bad-image",
            "blank-images",
            "value-range",
            "missing-label",
            "boolean-label",
            "one-hot",
            "no-header",
            "found-by-name",
        ),
        *("split-column", "split-read", "split-is-class", "split-in-class", "group-leak", "case-of-classes"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """Everything about a study that does not decide what it finds.

    observers: receive its events.  paths: of caches and weights.  command: as it was typed, for study.json.
    gpus: number of GPUs of this machine, which its workers share.  trusted: rules and actions of a saved study that may
    run code, as their texts; None for all.
    """

    observers: Sequence[StudyObserver] = ()
    paths: Paths = field(default_factory=lambda: Paths.of({}))  # the user's own
    progress: Progress = quiet
    command: Sequence[str] = ()
    gpus: int = 0
    trusted: Collection[str] | None = ()


@contextmanager
def _noting_interruption(study: Study) -> Iterator[None]:
    """Note in the study that a signal ended the block, such as a second Ctrl-C while running trials were ending."""
    try:
        yield
    except (KeyboardInterrupt, Signalled) as error:
        study.finish(StudyStatus.INTERRUPTED, signal_reason(getattr(error, "number", signal.SIGINT)))
        raise


def lead_study(study: Study, executor: Executor, launch: StudyContext, notes: Sequence[str] = ()) -> Study:
    """Run a study to its end, make the model of its best trial, and write its report.

    notes: about the data, for the observers.
    """
    started, seconds_before, stop = time.monotonic(), study.seconds, StopSignal()
    # The store is closed last but one: all is in its storage then.
    with study.lock(), _noting_interruption(study), closing(_trial_store(study)) as store, stop.listening():
        study.process = process_identity()
        study.finish(StudyStatus.RUNNING)  # a kill from here on leaves a study that --resume accepts
        import_earlier_trials(study, store)
        tasks = TrialTasks(study, launch.trusted)
        runner = StudyRunner(
            study=study,
            store=store,
            executor=executor,
            prepare=tasks.prepare,
            group=tasks.group,
            batch=tasks.batch,
            observers=launch.observers,
            halt=lambda: stop.reason,
        )
        for observer in launch.observers:
            observer.on_begin(study, store.trials())
            for note in notes:
                observer.on_trouble(note)
        status, reason = runner.run()
        # After Ctrl-C the user wants the prompt back; the next process makes the model.
        study.failed_steps = []
        if status is not StudyStatus.INTERRUPTED:
            reason = tasks.deliver_best(store.trials(), runner) or reason
            _note_best_run(study, store.trials())
        study.seconds = seconds_before + time.monotonic() - started
        store.flush()  # before study.json says that the study has ended
        study.finish(status, reason)
        # Last: it shows the status. What failed is announced below, with what failed in the worker of the best trial.
        if FinalSteps(study, lambda failed: None)("report", write_study_report, study, store.trials()) is None:
            study.save()
    for observer in launch.observers:
        for step in study.failed_steps:
            observer.on_trouble(failed_step_text(step))
        observer.on_end(study.status, study.reason)
    return study


def _note_best_run(study: Study, trials: Sequence[Trial]) -> None:
    """Add to the study what is known once the best trial has a run: ties, and the steps that failed for its model."""
    run = best_run(study)
    if run is None:
        return
    study.failed_steps = list(run.failed_steps)
    found = ties(trials, study.objective, sum(run.data["counts"].get("valid", {}).values()))
    study.best["ties"] = found.to_json() if found is not None else None


@contextmanager
def start_workers(plan: StudyPlan, base: Recipe, launch: StudyContext, folder: Path) -> Iterator[Executor]:
    """Yield the executor of a study, closed after the block. Local workers import what they need in the meantime."""
    with closing(build_executor(plan, base, launch.paths, folder / "workers", launch.gpus)) as executor:
        if isinstance(executor, LocalExecutor):  # a cluster starts its processes itself
            executor.warm(plan.parallel)  # importing torch takes seconds; the scan of the images runs meanwhile
        yield executor


def build_executor(plan: StudyPlan, base: Recipe, paths: Paths, logs: Path, gpus: int) -> Executor:
    """Return the executor of a study.

    Heads that train together have one worker with the whole machine. Other trials have `parallel` workers that share
    its cores and its GPUs. gpus: number of GPUs of this machine. Raises BadChoice for an unknown executor.
    """
    kind, _, _ = plan.on.partition("://")
    slots = 1 if stacks(plan, base) else plan.parallel
    local = kind == "local"
    # More threads than cores slow all of them down. A cluster has other machines: there the share of a trial counts.
    threads = max(1, cores() // slots) if local else max(1, int(plan.cpus_per_trial or 1))

    def resources(slot: int) -> Mapping[str, Any]:
        device = f"cuda:{slot % gpus}" if local and gpus else "auto"  # more workers than GPUs share them in turn
        return WorkerResources(paths=paths, device=device, threads=threads).to_json()

    spec = ExecutorSpec(
        slots=slots,
        # -P: a folder of data in which the command was started may hold modules of somebody else.
        command=(sys.executable, "-P", "-m", "clearsight.workflow.study.worker"),
        runner="clearsight.workflow.study.job_runner:JobRunner.from_json",
        resources=resources,
        logs=logs,
        address=plan.on if "://" in plan.on else "",
        cpus=plan.cpus_per_trial,
        gpus=plan.gpus_per_trial,
    )
    try:
        return EXECUTORS.load(kind)(spec)
    except BadChoice as error:
        if error.got != kind:  # raised by the executor itself, about something else
            raise
        raise BadChoice(f"--on {plan.on}", "no such executor", got=kind, allowed=EXECUTORS.names()) from None


def weights_are_fixed(plan: StudyPlan) -> bool:
    """Return True if all trials start from the weights of the base recipe, on this machine."""
    return plan.on == "local" and not {"model", "weights"} & {*plan.space.names}


def check_weights(plan: StudyPlan, base: Recipe, paths: Paths) -> None:
    """Raise ClearsightError if the weights of all trials are not there; without this every trial would fail.

    paths: where weights are searched.  Loads torch where they must be downloaded, which is then done once for all
    workers.
    """
    model, weights = base.model.model, base.model.weights
    if not weights_are_fixed(plan):
        return
    if weights not in NOT_A_FILE:
        check_file(Path(weights))
    elif weights == "default" and not candidates(model, paths.weights):
        check_default_weights(model, paths.weights, paths.torch_hub)
        from clearsight.models.weights import resolve
        from clearsight.models.zoo import find

        resolve(weights, *find(model), paths.weights)


def check_data(plan: StudyPlan, base: Recipe, launch: StudyContext) -> Dataset:
    """Scan the images once, before any trial; returns those that trials use.

    Raises BadData or BadValue for data on which trials cannot be compared.
    """
    listing = list_dataset(Path(plan.data), base.data, base.train.seed)
    scan = scan_dataset(listing, base.data, launch.paths, launch.progress)
    data = drop_bad_images(listing, scan, base.data.on_bad)
    check_trainable(data)
    # The test split must stay unseen until the best trial is chosen, so it cannot stand in for validation images.
    if not len(data.split("valid")):
        raise BadData(data.path, "it has no validation images to compare trials by", fix="Raise --valid-fraction.")
    for objective in plan.objectives:
        check_metric("--metric", objective.metric, data)
    check_metric("--monitor", base.train.monitor, data)
    data, _ = with_value_range(data, scan, base.data)
    return data


def data_notes(data: Dataset) -> list[str]:
    """Return sentences about how the images are read, and about those that no trial uses."""
    return [notice.text for notice in data.notices if notice.code in _SHOWN_NOTICES]


def images_file(study: Path) -> Path:
    """Return the path of the list of the images that a study began with."""
    return RunFolder(study).images


def check_same_data(study: Study, data: Dataset) -> None:
    """Raise NotResumable if the images are not those that the study began with: its trials could not be compared."""
    changes = image_changes(images_file(study.path), data)
    if changes is not None and str(changes):  # None: a study of an earlier version has no list
        fix = f"Restore them, or begin a new study with the trials of this one: --warm-start {study.path}."
        problem = f"the data have changed since the study began: {changes}"
        raise NotResumable(study.plan.data, problem, fix=fix)


def _trial_store(study: Study) -> TrialStore:
    plan = study.plan
    return TrialStore(study, searcher_of(plan.searcher), pruner_of(plan, study.recipe), most_epochs(plan, study.recipe))


def import_earlier_trials(study: Study, store: TrialStore) -> None:
    """Import the trials of the studies named by --warm-start that lie in this study's space, once.

    Raises NotFound for a missing study, BadValue for a study with other objectives.
    """
    # They are imported before the study proposes its first trial, so a trial of its own shows that this has happened.
    if any(not trial.imported for trial in store.trials()):
        return
    for source in study.plan.warm_start:
        store.import_trials(earlier_trials(source, study.plan), without_secrets(source))  # it is stored


def check_warm_start(plan: StudyPlan) -> None:
    """Raise the errors of `import_earlier_trials`, before the study begins."""
    for source in plan.warm_start:
        earlier_trials(source, plan)


def earlier_trials(source: str, plan: StudyPlan) -> list[Trial]:
    """Return the trials of an earlier study. source: its folder, or the URL of its storage with "#name"."""
    if "://" in source:
        url, _, name = source.partition("#")
        return stored_trials(url, name)
    earlier = Study.open(Path(source))
    if earlier.plan.objectives != plan.objectives:
        listed = ", ".join(f"{objective.metric} ({objective.direction}d)" for objective in earlier.plan.objectives)
        fix = "Use the same --metric."
        raise BadValue(f"--warm-start {source}", f"that study optimizes {listed}", fix=fix)
    return read_trials(earlier)
