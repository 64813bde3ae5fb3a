"""The steps of a run, shared by a new one and one that goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from clearsight.core.dataset import Dataset, Split
from clearsight.core.errors import BadData, BadValue, DiskFull
from clearsight.core.events import RunStatus
from clearsight.core.machine import hardware
from clearsight.core.profile import Profile
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.data.duplicates import exact_duplicates, leaks
from clearsight.data.scan import Scan, drop_bad_images
from clearsight.training.allocator import kept_memory
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.device import Placement, place
from clearsight.training.distributed import World, join_process_group
from clearsight.training.observers import ObserverList
from clearsight.training.stop import StopSignal
from clearsight.workflow.prepare.datasets import list_dataset, quiet, scan_dataset
from clearsight.workflow.prepare.defaults import resolve_defaults
from clearsight.workflow.prepare.feature_batches import saved_feature_seconds
from clearsight.workflow.prepare.network import build_network, overridden
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.adjustments import AdjustedTraining
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.debugging import build_debugger, check_debugging, close, run_context
from clearsight.workflow.run.delivery import deliver, record_result
from clearsight.workflow.run.log import LogWriter
from clearsight.workflow.run.plan import make_plan
from clearsight.workflow.run.profiling import build_recording
from clearsight.workflow.run.report import write_report
from clearsight.workflow.speed.auto_tune import tuning_notes


@contextmanager
def run_process(recipe: Recipe, world: World) -> Iterator[Placement]:
    """Device, threads, memory and process group for the duration of a run."""
    placement = place(recipe.train, world)
    before = torch.get_num_threads()
    torch.set_num_threads(placement.threads)
    keeping = recipe.train.keep_memory and placement.device.type == "cpu"
    try:
        with join_process_group(world, placement.device), kept_memory() if keeping else nullcontext():
            yield placement
    finally:
        torch.set_num_threads(before)


def make_setup(source: Path, recipe: Recipe, placement: Placement, around: LaunchContext) -> RunSetup:
    """Data opened and checked, network built and on its device."""
    check_debugging(recipe.debug)
    if not around.world.leads:
        around.world.wait()  # rank 0 fills the scan cache first
    listing = list_dataset(source, recipe.data, recipe.train.seed)
    looked = scan_dataset(listing, recipe.data, around.kept, around.progress)
    data = drop_bad_images(listing, looked, recipe.data.on_bad)
    if around.world.leads:
        around.world.wait()
    _check(recipe, data)
    built = build_network(recipe, len(data.classes), around.kept)
    network = built.with_preprocess(overridden(built.preprocess, recipe.data))
    network.model.to(placement.device)
    network.model.to(memory_format=placement.memory_format)
    return RunSetup(
        network=network,
        recipe=resolve_defaults(recipe, network, len(data.split("train")), around.world.size),
        data=data,
        placement=placement,
        world=around.world,
        places=around.kept,
        progress=around.progress if around.world.leads else quiet,
        own_preprocess=built.preprocess,
        small=_smaller(data, looked, network.preprocess.size),
        duplicates=_duplicates(data, looked),
    )


def _smaller(data: Dataset, looked: Scan, size: int) -> int:
    shorter = (
        min(looked.by_id[sample.id].width, looked.by_id[sample.id].height) for sample in data.split("train").samples
    )
    return sum(side < size for side in shorter)


_LATER: tuple[Split, ...] = ("valid", "test")


def _duplicates(data: Dataset, looked: Scan) -> dict[str, int]:
    """Of valid and test, how many images are in an earlier split too, byte for byte."""
    again = Counter(late for _, late in (leak.splits for leak in leaks(data, exact_duplicates(looked, data))))
    return {split: again[split] for split in _LATER if len(data.split(split))}


def _check(recipe: Recipe, data: Dataset) -> None:
    if not len(data.split("train")):
        raise BadData(data.path, "it has no training images", fix="Add a train folder, or say --split-column.")
    if recipe.train.monitor == "roc_auc" and len(data.classes) != 2:
        raise BadValue("--monitor roc_auc", f"it is for two classes, these data have {len(data.classes)}")


def execute(run: Run, setting: RunSetup, around: LaunchContext) -> Run:
    """Train from the newest checkpoint, or from the start where there is none, to the bundle and the report."""
    checkpoints = Checkpoints(run.checkpoints)
    stop = StopSignal(setting.recipe.train.time_limit, around.halt)
    onlookers = [LogWriter(run.path / "log.txt"), *around.observers] if setting.world.leads else []
    announcer = ObserverList(onlookers)
    try:
        recording = build_recording(run, setting, around, checkpoints)
        with recording or nullcontext():
            if recording is not None:
                setting = replace(setting, stopwatch=recording)
            phases = build_phases(setting)
            profile = recording.profile if recording is not None else Profile
            watch = build_debugger(run, setting, phases, announcer, stop, checkpoints, profile)
            announcer.plan(make_plan(setting, phases, tuning_notes(run.path)))
            with stop.listening():
                course = AdjustedTraining(run, setting, phases, checkpoints, stop, onlookers, watch)
                outcome = course.train()
        if setting.world.leads:
            close(watch, run, run_context(setting, phases))
        run.spared_seconds = saved_feature_seconds(phases, len(run.epochs()))
        if around.ending == "deliver":
            deliver(run, course.setting, phases[-1], outcome, around.began)
        else:
            record_result(run, course.setting, outcome, around.began)
    except BaseException as error:
        if setting.world.leads:
            _note_failure(run, error, setting)
        announcer.end(run.status, run.reason)
        raise
    announcer.end(run.status, run.reason)
    return run


def _note_failure(run: Run, error: BaseException, setting: RunSetup) -> None:
    run.status = RunStatus.INTERRUPTED if isinstance(error, KeyboardInterrupt) else RunStatus.FAILED
    run.reason = str(error) or type(error).__name__
    with suppress(DiskFull):  # the error on its way says so already
        run.save()
        if isinstance(error, Exception):
            write_report(run, setting.data, setting.network.preprocess)


def data_facts(source: Path, setting: RunSetup) -> dict[str, Any]:
    """What run.json and the bundle say of the data."""
    data = setting.data
    return {
        "path": str(source),
        "format": data.format,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "counts": data.counts(),
        "notices": [{"code": notice.code, "text": notice.text} for notice in data.notices],
    }


def hardware_facts(placement: Placement) -> dict[str, Any]:
    """What run.json says of the machine."""
    return {**hardware(), "device": placement.describe(), "precision": placement.precision}
