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
from clearsight.core.machine import hardware
from clearsight.core.profile import Profile
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run, RunStatus
from clearsight.data.duplicates import exact, leaks
from clearsight.data.scan import Scan, apply
from clearsight.training.allocator import kept_memory
from clearsight.training.announcer import Announcer
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.device import Placement, place
from clearsight.training.stop import Stop
from clearsight.training.world import World, joined
from clearsight.workflow.auto_tune import tuning_notes
from clearsight.workflow.circumstances import Circumstances
from clearsight.workflow.course import Course
from clearsight.workflow.defaults import settled
from clearsight.workflow.delivery import conclude, put_by
from clearsight.workflow.feature_batches import spared_seconds
from clearsight.workflow.log import LogWriter
from clearsight.workflow.network import build_network, overridden
from clearsight.workflow.opening import listed, quiet, scanned
from clearsight.workflow.phases import build_phases
from clearsight.workflow.plan import make_plan
from clearsight.workflow.profiling import build_recording
from clearsight.workflow.report import write_report
from clearsight.workflow.setting import Setting
from clearsight.workflow.watching import build_watch, check_debugging, close, facts_of


@contextmanager
def process(recipe: Recipe, world: World) -> Iterator[Placement]:
    """Device, threads, memory and process group for the duration of a run."""
    placement = place(recipe.train, world)
    before = torch.get_num_threads()
    torch.set_num_threads(placement.threads)
    keeping = recipe.train.keep_memory and placement.device.type == "cpu"
    try:
        with joined(world, placement.device), kept_memory() if keeping else nullcontext():
            yield placement
    finally:
        torch.set_num_threads(before)


def prepare(source: Path, recipe: Recipe, placement: Placement, around: Circumstances) -> Setting:
    """Data opened and checked, network built and on its device."""
    check_debugging(recipe.debug)
    if not around.world.leads:
        around.world.wait()  # rank 0 fills the scan cache first
    listing = listed(source, recipe.data, recipe.train.seed)
    looked = scanned(listing, recipe.data, around.kept, around.progress)
    data = apply(listing, looked, recipe.data.on_bad)
    if around.world.leads:
        around.world.wait()
    _check(recipe, data)
    built = build_network(recipe, len(data.classes), around.kept)
    network = built.with_preprocess(overridden(built.preprocess, recipe.data))
    network.model.to(placement.device)
    network.model.to(memory_format=placement.memory_format)
    return Setting(
        network=network,
        recipe=settled(recipe, network, len(data.split("train")), around.world.size),
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
    """Of valid and test, how many pictures are in an earlier split too, byte for byte."""
    again = Counter(late for _, late in (leak.splits for leak in leaks(data, exact(looked, data))))
    return {split: again[split] for split in _LATER if len(data.split(split))}


def _check(recipe: Recipe, data: Dataset) -> None:
    if not len(data.split("train")):
        raise BadData(data.path, "it has no training pictures", fix="Add a train folder, or say --split-column.")
    if recipe.train.monitor == "roc_auc" and len(data.classes) != 2:
        raise BadValue("--monitor roc_auc", f"it is for two classes, these data have {len(data.classes)}")


def carry_out(run: Run, setting: Setting, around: Circumstances) -> Run:
    """Train from the newest checkpoint, or from the start where there is none, to the bundle and the report."""
    checkpoints = Checkpoints(run.checkpoints)
    stop = Stop(setting.recipe.train.time_limit, around.halt)
    onlookers = [LogWriter(run.path / "log.txt"), *around.observers] if setting.world.leads else []
    announcer = Announcer(onlookers)
    try:
        recording = build_recording(run, setting, around, checkpoints)
        with recording or nullcontext():
            if recording is not None:
                setting = replace(setting, stopwatch=recording)
            phases = build_phases(setting)
            profile = recording.profile if recording is not None else Profile
            watch = build_watch(run, setting, phases, announcer, stop, checkpoints, profile)
            announcer.plan(make_plan(setting, phases, tuning_notes(run.path)))
            with stop.listening():
                course = Course(run, setting, phases, checkpoints, stop, onlookers, watch)
                outcome = course.train()
        if setting.world.leads:
            close(watch, run, facts_of(setting, phases))
        run.spared_seconds = spared_seconds(phases, len(run.epochs()))
        if around.ending == "deliver":
            conclude(run, course.setting, phases[-1], outcome, around.began)
        else:
            put_by(run, course.setting, outcome, around.began)
    except BaseException as error:
        if setting.world.leads:
            _note_failure(run, error, setting)
        announcer.end(run.status, run.reason)
        raise
    announcer.end(run.status, run.reason)
    return run


def _note_failure(run: Run, error: BaseException, setting: Setting) -> None:
    run.status = RunStatus.INTERRUPTED if isinstance(error, KeyboardInterrupt) else RunStatus.FAILED
    run.reason = str(error) or type(error).__name__
    with suppress(DiskFull):  # the error on its way says so already
        run.save()
        if isinstance(error, Exception):
            write_report(run, setting.data, setting.network.preprocess)


def data_facts(source: Path, setting: Setting) -> dict[str, Any]:
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
