"""Delivery of a run: a bundle of the best weights, its scores on the test split, and the report."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Dataset
from clearsight.core.events import RunStatus
from clearsight.core.machine import versions
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.models.bundle import add_onnx, save_weights
from clearsight.models.network import Network
from clearsight.training.calibration import Calibration, calibrate
from clearsight.training.distributed import World
from clearsight.training.job import Phase, TrainingResult
from clearsight.training.scoring import outputs
from clearsight.workflow.prepare.datasets import Progress
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.changed_images import note_changed_images
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.evaluation import measure
from clearsight.workflow.run.final_steps import FinalSteps
from clearsight.workflow.run.refit import Refit
from clearsight.workflow.run.report import write_report


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training that has ended. phase: the last one.  refit: the second training, where the recipe asks for one."""

    setup: RunSetup
    phase: Phase
    result: TrainingResult
    refit: Refit | None = None


def deliver(run: Run, steps: FinalSteps, trained: Trained, launch: LaunchContext) -> None:
    """Record how a training ended; make a bundle of the best weights, measure it once on the test split, and report.

    The run gets the status of its training, whichever of these steps fail.
    launch: its `ending` "record" leaves bundle, test scores and report to a later `resume`.
    """
    setup, result, leads = trained.setup, trained.result, trained.setup.world.leads
    run.best_epoch, run.images_per_second = result.best_epoch, result.images_per_second
    run.scores = {"valid": dict(result.valid) or None, "test": None}
    ended = result.status in (RunStatus.COMPLETED, RunStatus.STOPPED_EARLY)
    if launch.ending == "deliver" and ended and result.best_epoch is not None:
        # On every rank: they share the images.
        calibration = steps("calibration", _calibrate, run, setup.network, trained.phase, setup.world)
        run.calibration = calibration.to_json() if calibration else {}
        if trained.refit is not None:  # after the calibration, which needs images that the weights have not seen
            result = steps("refit", trained.refit.train, result) or result
        if leads and result.status is not RunStatus.INTERRUPTED:
            _deliver_model(run, steps, setup)
    if leads:
        note_changed_images(run, setup.data)
        run.seconds += time.monotonic() - launch.started  # added: a resumed run has spent time before
        run.finish(result.status, result.stop)  # before the report, which shows the status
        if (
            launch.ending == "deliver"
            and steps("report", write_report, run, setup.data, setup.network.preprocess) is None
        ):
            run.save()  # with the step that failed
    setup.world.wait()  # no process leaves while rank 0 still writes


def _deliver_model(run: Run, steps: FinalSteps, setup: RunSetup) -> None:
    """Write the bundle and measure it. Without an ONNX file torch runs the network."""
    manifest = _manifest(run, setup.network, setup.recipe, setup.data)
    bundle = steps("model", save_weights, setup.network, manifest, run.bundle)
    if bundle is None:
        return
    bundle = steps("onnx", add_onnx, setup.network, bundle) or bundle
    steps("evaluation", _measure, run, bundle, setup.data, str(setup.placement.device), setup.progress)


def _manifest(run: Run, network: Network, recipe: Recipe, data: Dataset) -> Bundle:
    return Bundle(
        model=network.name,
        head=recipe.model.head,
        dropout=recipe.model.dropout,
        classes=data.classes.names,
        preprocess=network.preprocess,
        temperature=run.calibration.get("temperature", 1.0),
        calibration=run.calibration,
        recipe=recipe.without_secrets().model_dump(mode="json"),
        data=run.data,
        scores=run.scores,
        versions=versions(),
    )


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


def _calibrate(run: Run, network: Network, phase: Phase, world: World) -> Calibration | None:
    """Return the calibration of the kept weights on the validation split; None without one."""
    if phase.valid is None:
        return None
    network.model.eval()
    phase.model.eval()
    logits, labels = outputs(phase.model, phase.valid, nullcontext, world)
    # A head that came with the weights was trained on images of these classes, perhaps on those that validate here.
    return calibrate(logits, labels, may_be_trained=bool(run.weights.get("has_head")))
