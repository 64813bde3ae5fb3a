"""Delivery of a run: a bundle of the best weights, its scores on the test split, and the report."""

from __future__ import annotations

import time
from contextlib import nullcontext

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Dataset
from clearsight.core.events import RunStatus
from clearsight.core.machine import versions
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.models.bundle import save as save_bundle
from clearsight.models.network import Network
from clearsight.training.calibration import Calibration, calibrate
from clearsight.training.distributed import World
from clearsight.training.job import Phase, TrainingResult
from clearsight.training.scoring import outputs
from clearsight.workflow.prepare.datasets import Progress
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import Ending
from clearsight.workflow.run.evaluation import measure
from clearsight.workflow.run.report import write_report


def deliver(
    run: Run, setup: RunSetup, phase: Phase, result: TrainingResult, started: float, ending: Ending = "deliver"
) -> None:
    """Record how a training ended; make a bundle of the best weights, measure it once on the test split, and report.

    phase: the last one of the training.  started: time.monotonic() at the start of the command.
    ending: "record" leaves bundle, test scores and report to a later `resume`.
    """
    run.best_epoch, run.images_per_second = result.best_epoch, result.images_per_second
    run.scores = {"valid": dict(result.valid) or None, "test": None}
    ended = result.status in (RunStatus.COMPLETED, RunStatus.STOPPED_EARLY)
    if ending == "deliver" and ended and result.best_epoch is not None:
        calibration = _calibrate(setup.network, phase, setup.world)  # on every rank: they share the images
        if setup.world.leads:
            bundle = _save_bundle(run, setup.network, setup.recipe, setup.data, calibration)
            _measure(run, bundle, setup.data, str(setup.placement.device), setup.progress)
    if setup.world.leads:
        run.seconds += time.monotonic() - started  # added: a resumed run has spent time before
        run.finish(result.status, result.stop)  # before the report, which shows the status
        if ending == "deliver":
            write_report(run, setup.data, setup.network.preprocess)
    setup.world.wait()  # no process leaves while rank 0 still writes


def _save_bundle(run: Run, network: Network, recipe: Recipe, data: Dataset, calibration: Calibration | None) -> Bundle:
    manifest = Bundle(
        model=network.name,
        head=recipe.model.head,
        dropout=recipe.model.dropout,
        classes=data.classes.names,
        preprocess=network.preprocess,
        temperature=calibration.temperature if calibration else 1.0,
        calibration=calibration.to_json() if calibration else {},
        recipe=recipe.model_dump(mode="json"),
        data=run.data,
        scores=run.scores,
        versions=versions(),
    )
    return save_bundle(network, manifest, run.bundle)


def _measure(run: Run, bundle: Bundle, data: Dataset, device: str, progress: Progress) -> None:
    """Measure the bundle on the test split, where there is one, and write its scores into run and bundle."""
    test = data.split("test")
    if not len(test):
        return
    evaluation = measure(bundle, test, device=device, progress=progress)
    evaluation.write(run.files.evaluation)
    run.scores["test"] = evaluation.scores()
    # Sealed again: the scores belong to the manifest, and they exist only now.
    bundle.model_copy(update={"scores": run.scores}).seal(run.bundle)


def _calibrate(network: Network, phase: Phase, world: World) -> Calibration | None:
    """Return the calibration of the kept weights on the validation split; None without one."""
    if phase.valid is None:
        return None
    network.model.eval()
    phase.model.eval()
    logits, labels = outputs(phase.model, phase.valid, nullcontext, world)
    return calibrate(logits, labels)
