"""The steps of a run, shared by a new one and one that goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Dataset
from clearsight.core.errors import BadData, BadValue, DiskFull
from clearsight.core.machine import hardware, versions
from clearsight.core.recipe import Recipe
from clearsight.core.run import MetricsWriter, Observer, Run, RunStatus
from clearsight.data.scan import Scan, apply
from clearsight.models.bundle import save as save_bundle
from clearsight.training.announcer import Announcer
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.device import Placement, place
from clearsight.training.job import Job, Outcome, Phase
from clearsight.training.loop import train as train_loop
from clearsight.training.loss import balanced_weights
from clearsight.training.metrics import fit_temperature
from clearsight.training.scoring import outputs
from clearsight.training.stop import Stop
from clearsight.training.world import World, joined
from clearsight.workflow.defaults import settled
from clearsight.workflow.evaluate import measure
from clearsight.workflow.log import LogWriter
from clearsight.workflow.network import build_network
from clearsight.workflow.opening import Progress, listed, quiet, scanned
from clearsight.workflow.phases import Setting, build_phases
from clearsight.workflow.places import Places
from clearsight.workflow.plan import make_plan
from clearsight.workflow.report import write_report


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is not part of a recipe: who watches, where caches lie, which process of how many this is, who asked."""

    observers: Sequence[Observer] = ()
    places: Places | None = None
    world: World = World()  # noqa: RUF009 - a frozen value
    progress: Progress = quiet
    command: Sequence[str] = ()
    began: float = field(default_factory=time.monotonic)

    @property
    def kept(self) -> Places:
        """The places that were said, or the user's own."""
        return self.places or Places.of({})


@contextmanager
def process(recipe: Recipe, world: World) -> Iterator[Placement]:
    """Device, threads and process group for the duration of a run."""
    placement = place(recipe.train, world)
    before = torch.get_num_threads()
    torch.set_num_threads(placement.threads)
    try:
        with joined(world, placement.device):
            yield placement
    finally:
        torch.set_num_threads(before)


def prepare(source: Path, recipe: Recipe, placement: Placement, around: Circumstances) -> Setting:
    """Data opened and checked, network built and on its device."""
    if not around.world.leads:
        around.world.wait()  # rank 0 fills the scan cache first
    listing = listed(source, recipe.data, recipe.train.seed)
    looked = scanned(listing, recipe.data, around.kept, around.progress)
    data = apply(listing, looked, recipe.data.on_bad)
    if around.world.leads:
        around.world.wait()
    _check(recipe, data)
    network = build_network(recipe, len(data.classes), around.kept)
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
        small=_smaller(data, looked, network.preprocess.size),
    )


def _smaller(data: Dataset, looked: Scan, size: int) -> int:
    shorter = (
        min(looked.by_id[sample.id].width, looked.by_id[sample.id].height) for sample in data.split("train").samples
    )
    return sum(side < size for side in shorter)


def _check(recipe: Recipe, data: Dataset) -> None:
    if not len(data.split("train")):
        raise BadData(data.path, "it has no training pictures", fix="Add a train folder, or say --split-column.")
    if recipe.train.monitor == "roc_auc" and len(data.classes) != 2:
        raise BadValue("--monitor roc_auc", f"it is for two classes, these data have {len(data.classes)}")


def carry_out(run: Run, setting: Setting, around: Circumstances) -> Run:
    """Train from the newest checkpoint, or from the start where there is none, to the bundle and the report."""
    checkpoints = Checkpoints(run.checkpoints)
    stop = Stop(setting.recipe.train.time_limit)
    observers: list[Observer] = []
    if setting.world.leads:
        writer = MetricsWriter(run.path / "metrics.jsonl", last_step=checkpoints.last_step())
        observers = [writer, LogWriter(run.path / "log.txt"), *around.observers]
    announcer = Announcer(observers)
    try:
        phases = build_phases(setting)
        announcer.plan(make_plan(setting, phases))
        with stop.listening():
            job = _job(setting, phases, checkpoints, observers, stop)
            outcome = train_loop(job, resume=checkpoints.newest.exists())
        _conclude(run, setting, phases[-1], outcome, around.began)
    except BaseException as error:
        if setting.world.leads:
            _note_failure(run, error)
        announcer.end(run.status, run.reason)
        raise
    announcer.end(run.status, run.reason)
    return run


def _note_failure(run: Run, error: BaseException) -> None:
    run.status = RunStatus.INTERRUPTED if isinstance(error, KeyboardInterrupt) else RunStatus.FAILED
    run.reason = str(error) or type(error).__name__
    with suppress(DiskFull):  # the error on its way says so already
        run.save()


def _job(
    setting: Setting, phases: Sequence[Phase], checkpoints: Checkpoints, observers: Sequence[Observer], stop: Stop
) -> Job:
    weights = None
    if setting.recipe.train.class_weights == "balanced":
        weights = balanced_weights(setting.train.labels(), len(setting.data.classes))
    return Job(
        network=setting.network.model,
        phases=phases,
        recipe=setting.recipe,
        checkpoints=checkpoints,
        observers=observers,
        stop=stop,
        world=setting.world,
        device=setting.placement.device,
        precision=setting.placement.precision,
        class_weights=weights,
    )


def _conclude(run: Run, setting: Setting, phase: Phase, outcome: Outcome, began: float) -> None:
    """Turn the best weights into a bundle, measure it once on the test split, write the report."""
    run.best_epoch, run.images_per_second = outcome.best_epoch, outcome.images_per_second
    run.scores = {"valid": dict(outcome.valid) or None, "test": None}
    ended = outcome.status in (RunStatus.COMPLETED, RunStatus.STOPPED_EARLY)
    if ended and outcome.best_epoch is not None:
        temperature = _temperature(setting, phase)
        if setting.world.leads:
            _deliver(run, setting, temperature)
    if setting.world.leads:
        run.seconds += time.monotonic() - began
        run.finish(outcome.status, outcome.reason)
        if run.has_bundle:
            write_report(run, setting.data)
    setting.world.wait()


def _deliver(run: Run, setting: Setting, temperature: float) -> None:
    manifest = Bundle(
        model=setting.network.name,
        head=setting.recipe.model.head,
        dropout=setting.recipe.model.dropout,
        classes=setting.data.classes.names,
        preprocess=setting.network.preprocess,
        temperature=temperature,
        recipe=setting.recipe.model_dump(mode="json"),
        data=run.data,
        scores=run.scores,
        versions=versions(),
    )
    bundle = save_bundle(setting.network, manifest, run.bundle)
    test = setting.data.split("test")
    if len(test):
        evaluation = measure(bundle, test, device=str(setting.placement.device), progress=setting.progress)
        evaluation.write(run.path / "evaluation")
        run.scores["test"] = evaluation.scores()
        bundle.model_copy(update={"scores": run.scores}).seal(run.bundle)


def _temperature(setting: Setting, phase: Phase) -> float:
    """Calibration of the kept weights on the validation split; 1.0 without one."""
    if phase.valid is None:
        return 1.0
    setting.network.model.eval()
    phase.model.eval()
    logits, labels = outputs(phase.model, phase.valid, nullcontext, setting.world)
    return fit_temperature(logits, labels)


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
