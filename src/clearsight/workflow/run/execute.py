"""Execution of a run, new or resumed: set-up, training, verdict of the rules, delivery."""

from __future__ import annotations

import logging
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from clearsight.core.dataset import Dataset, Split
from clearsight.core.errors import DiskFull, out_of_memory
from clearsight.core.events import ObserverList, RunStatus
from clearsight.core.machine import hardware, versions
from clearsight.core.preprocess import Preprocess
from clearsight.core.profile import Profile
from clearsight.core.recipe import Recipe
from clearsight.core.run import Provenance, Run
from clearsight.core.stop import Signalled, StopKind, StopReason, signal_reason
from clearsight.data.duplicates import exact_duplicates, leaks
from clearsight.data.scan import Scan, drop_bad_images
from clearsight.data.splits import check_trainable
from clearsight.data.value_range import blank_images
from clearsight.models.freeze import freeze
from clearsight.models.network import Network
from clearsight.training.allocator import keep_freed_memory
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.device import Placement, place
from clearsight.training.distributed import World, join_process_group
from clearsight.training.stop import StopSignal
from clearsight.workflow.messages import FindingsLog, LogWriter
from clearsight.workflow.prepare.auto_freeze import TrainingCost, choose_freeze
from clearsight.workflow.prepare.datasets import (
    check_metric,
    open_dataset,
    quiet,
    scan_dataset,
    with_value_range,
)
from clearsight.workflow.prepare.defaults import resolve_defaults
from clearsight.workflow.prepare.feature_batches import read_features, saved_feature_seconds
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.second_phase import second_phase_sentence
from clearsight.workflow.prepare.setup import RunSetup, build_network, override_preprocess, step_seconds
from clearsight.workflow.run.adjustments import AdjustedTraining
from clearsight.workflow.run.changed_images import DIGESTS, note_changed_images
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.debugging import build_debugger, note_label_check, run_context, write_verdicts
from clearsight.workflow.run.delivery import Trained, deliver
from clearsight.workflow.run.final_steps import FinalSteps
from clearsight.workflow.run.plan import make_plan
from clearsight.workflow.run.profiling import build_recording
from clearsight.workflow.run.refit import Refit
from clearsight.workflow.run.report import write_report
from clearsight.workflow.run.restore import rebuild_network, weights_facts
from clearsight.workflow.run.rules import check_debugging
from clearsight.workflow.speed.auto_tune import tuning_notes

log = logging.getLogger(__name__)

_TRAINING = threading.RLock()  # a run may prepare the process again within its own block


@contextmanager
def run_process(recipe: Recipe, world: World) -> Iterator[Placement]:
    """Prepare the process for a run: device, threads, memory and process group, for the duration of the block.

    Trainings in several threads of a process take turns: number of threads and random state belong to the process, and
    a result must not depend on what else runs in it.
    """
    with _one_at_a_time():
        yield from _prepared(recipe, world)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    if not _TRAINING.acquire(blocking=False):
        log.warning("Another training runs in this process; this one waits until it has ended.")
        _TRAINING.acquire()
    try:
        yield
    finally:
        _TRAINING.release()


def _prepared(recipe: Recipe, world: World) -> Iterator[Placement]:
    placement = place(recipe.train, world)
    threads = torch.get_num_threads()
    torch.set_num_threads(placement.threads)  # process-wide: restored below, for callers in Python
    keep_memory = recipe.train.keep_memory and placement.device.type == "cpu"
    try:
        with join_process_group(world, placement.device), keep_freed_memory() if keep_memory else nullcontext():
            yield placement
    finally:
        torch.set_num_threads(threads)


def make_setup(
    source: Path, recipe: Recipe, placement: Placement, launch: LaunchContext, run: Run | None = None
) -> RunSetup:
    """Open and check the data, build the network and put it on its device.

    source: the dataset.  run: one that is continued, whose weights its checkpoints have.
    Raises ClearsightError for settings and data that cannot be trained on.
    """
    check_debugging(recipe.debug)  # here too: a study may vary these settings
    if not launch.world.leads:
        launch.world.wait()  # rank 0 fills the scan cache first
    listing, recipe = open_dataset(source, recipe)
    check_trainable(listing)
    check_metric("--monitor", recipe.train.monitor, listing)
    # Before the scan, which may take minutes: weights that are nowhere, a model or a stage that does not exist.
    build = build_network if run is None else partial(rebuild_network, run)
    built = build(recipe, listing.classes.names, launch.paths)
    network = built.with_preprocess(override_preprocess(built.preprocess, recipe.data))
    freeze(network, recipe.model.resolved_freeze)
    scan = scan_dataset(listing, recipe.data, launch.paths, launch.progress)
    data = drop_bad_images(listing, scan, recipe.data.on_bad)
    data, section = with_value_range(data, scan, recipe.data)
    recipe = recipe.replace(value_range=section.value_range)
    network = network.with_preprocess(override_preprocess(built.preprocess, section))
    check_metric("--monitor", recipe.train.monitor, data)  # again: a class may have lost its only image
    if launch.world.leads:  # now the others find the scan in the cache
        launch.world.wait()
    network.model.to(placement.device)
    network.model.to(memory_format=placement.memory_format)
    choice = None
    if recipe.model.freeze == "auto":
        measure = partial(_training_cost, network, data, placement, launch.world)
        choice = choose_freeze(recipe, measure, has_head=bool(network.saved_head))
        recipe = choice.recipe
    return RunSetup(
        network=network,
        recipe=resolve_defaults(recipe, network, len(data.split("train")), launch.world.size),
        data=data,
        placement=placement,
        world=launch.world,
        paths=launch.paths,
        progress=launch.progress if launch.world.leads else quiet,
        weights_preprocess=built.preprocess,
        small_images=_count_smaller(data, scan, network.preprocess.size),
        blank_images=len(blank_images(scan.of(data.split("train")), section.value_range)),
        duplicates=_count_duplicates(data, scan),
        choice=choice,
    )


def _training_cost(network: Network, data: Dataset, placement: Placement, world: World) -> TrainingCost:
    return TrainingCost(
        step_seconds=max(world.gather(step_seconds(network, placement))),  # the slowest: all ranks choose alike
        train=-(-len(data.split("train")) // world.size),
        valid=-(-len(data.split("valid")) // world.size),
        on_cpu=placement.device.type == "cpu",
        processes=world.size,
    )


def _count_smaller(data: Dataset, scan: Scan, size: int) -> int:
    """Count the training images whose shorter side is below `size` pixels."""
    images = (scan.by_id[sample.id] for sample in data.split("train").samples)
    return sum(min(image.width, image.height) < size for image in images)


_LATER_SPLITS: tuple[Split, ...] = ("valid", "test")


def _count_duplicates(data: Dataset, scan: Scan) -> dict[str, int]:
    """Count, for valid and test, the images that are byte for byte in an earlier split too."""
    counts = Counter(later for _, later in (leak.splits for leak in leaks(data, exact_duplicates(scan, data))))
    return {split: counts[split] for split in _LATER_SPLITS if len(data.split(split))}


def execute(run: Run, setup: RunSetup, launch: LaunchContext, notes: Sequence[str] = ()) -> Run:
    """Train from the newest checkpoint, or from the start where there is none, to the bundle and the report.

    notes: of the plan, beside those about the data and the settings.
    A signal such as Ctrl-C returns an interrupted run, also where it comes before the first step or after the last one.
    """
    checkpoints = Checkpoints(run.checkpoints)
    stop = StopSignal(setup.recipe.train.time_limit, launch.halt)
    observers = [LogWriter(run.files.log), FindingsLog(run.files.live_findings), *launch.observers]
    # Rank 0 alone writes and prints: the others train the same and would repeat it.
    announce = ObserverList(observers if setup.world.leads else [])
    run.failed_steps, steps = [], FinalSteps(run, announce.on_failed_step)  # none yet: a resumed run takes them again
    try:
        last = checkpoints.last_step()
        recording = build_recording(
            run.files.profile, setup, visible=launch.visible, last_step=last, started=launch.started
        )
        with recording or nullcontext():
            if recording is not None:
                setup = replace(setup, stopwatch=recording)
            phases = build_phases(setup)
            profile = recording.profile if recording is not None else Profile
            debugger = build_debugger(run, setup, phases, announce, stop, checkpoints, profile)
            announce.on_plan(make_plan(setup, phases, [*notes, *tuning_notes(run.path)]))
            with setup.stopwatch.span("features", 0, 0):
                read_features(phases, checkpoints.epoch())  # after the plan, which says how long that takes
            note_label_check(debugger, phases, setup.train)
            with stop.listening():
                training = AdjustedTraining(run, setup, phases, checkpoints, stop, [announce], debugger)
                result = training.train()
            run.second_phase = second_phase_sentence(phases, result)
            if run.second_phase:
                announce.on_remark(run.second_phase)
        if setup.world.leads:
            # After the recording has closed: rules read the whole profile.
            steps("verdicts", lambda: write_verdicts(debugger, run, run_context(setup, phases)))
        run.saved_seconds = saved_feature_seconds(phases, len(run.epochs()))
        refit = None
        if training.setup.recipe.train.refit:
            refit = Refit(run=run, setup=training.setup, stop=stop, observers=[announce])
        # The calibration measures the kept weights: on features, where only a head was trained on them.
        phase = phases[0] if result.left_out else phases[-1]
        trained = Trained(setup=training.setup, phase=phase, result=result, refit=refit)
        deliver(run, steps, trained, launch)
    except BaseException as error:  # Ctrl-C too: run.json must say how it ended
        if setup.world.leads:
            _record_failure(run, steps, error, setup.data, setup.network.preprocess)
        announce.on_end(run.status, run.reason)
        _raise_shortage(error, run)
        signalled = isinstance(error, KeyboardInterrupt | Signalled)
        if not signalled or setup.world.size > 1:  # of several processes each must end
            raise
        return run
    announce.on_end(run.status, run.reason)
    return run


def _raise_shortage(error: BaseException, run: Run) -> None:
    """Raise the error for the user where the disk or the memory was full: the run continues once there is more."""
    command = f"clearsight train --resume {run.path}"
    if isinstance(error, DiskFull):
        raise DiskFull(error.what, error.problem, fix=f"Free some space, then continue with: {command}.") from error
    fix = f"Make more available, then continue with: {command}; or start a new run with a smaller --batch-size."
    if (shortage := out_of_memory(error, fix=fix)) is not None:
        raise shortage from error


def _record_failure(run: Run, steps: FinalSteps, error: BaseException, data: Dataset, preprocess: Preprocess) -> None:
    signalled = isinstance(error, KeyboardInterrupt | Signalled)
    stop = StopReason(StopKind.FAILURE, str(error) or type(error).__name__)
    if signalled:
        stop = signal_reason(getattr(error, "number", signal.SIGINT))  # as the loop says it
    # With more space or memory the run can continue from its checkpoint.
    resumable = signalled or isinstance(error, DiskFull) or out_of_memory(error) is not None
    run.end(RunStatus.INTERRUPTED if resumable else RunStatus.FAILED, stop)
    note_changed_images(run, data)
    with suppress(DiskFull):  # the error that is being raised says so already
        run.save()
        if isinstance(error, Exception):  # after Ctrl-C the user wants the prompt back
            steps("report", write_report, run, data, preprocess)


def data_facts(source: Path, data: Dataset) -> dict[str, Any]:
    """Return what run.json and the bundle record of the data."""
    return {
        "path": str(source),
        "format": data.format,
        "fingerprint": data.fingerprint,
        "digests": DIGESTS,
        "classes": list(data.classes),
        "counts": data.counts(),
        "notices": [{"code": notice.code, "text": notice.text} for notice in data.notices],
    }


def begin_run(path: Path, source: Path, setup: RunSetup, placement: Placement, command: Sequence[str] = ()) -> Run:
    """Begin the run folder `path` with the facts about its data, its packages and its machine."""
    machine = {**hardware(), "device": placement.describe(), "precision": placement.precision}
    provenance = Provenance(command=list(command), versions=versions(), hardware=machine)
    facts = {"data": data_facts(source, setup.data), "weights": weights_facts(setup.network, setup.weights_preprocess)}
    return Run.begin(path, setup.recipe, provenance=provenance, **facts)
