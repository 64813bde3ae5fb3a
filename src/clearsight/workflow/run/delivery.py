"""The end of a run: the best weights become a bundle, are measured once, and the report is written."""

from __future__ import annotations

import time
from contextlib import nullcontext

from clearsight.core.bundle import Bundle
from clearsight.core.events import RunStatus
from clearsight.core.machine import versions
from clearsight.core.run import Run
from clearsight.models.bundle import save as save_bundle
from clearsight.training.job import Phase, TrainingResult
from clearsight.training.metrics import fit_temperature
from clearsight.training.scoring import outputs
from clearsight.workflow.evaluate import measure
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.report import write_report


def deliver(run: Run, setting: RunSetup, phase: Phase, outcome: TrainingResult, began: float) -> None:
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
        write_report(run, setting.data, setting.network.preprocess)
    setting.world.wait()


def record_result(run: Run, setting: RunSetup, outcome: TrainingResult, began: float) -> None:
    """Record how a training ended and what it scored on validation images; `resume` makes the model of it later."""
    run.best_epoch, run.images_per_second = outcome.best_epoch, outcome.images_per_second
    run.scores = {"valid": dict(outcome.valid) or None, "test": None}
    if setting.world.leads:
        run.seconds += time.monotonic() - began
        run.finish(outcome.status, outcome.reason)
    setting.world.wait()


def _deliver(run: Run, setting: RunSetup, temperature: float) -> None:
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


def _temperature(setting: RunSetup, phase: Phase) -> float:
    """Calibration of the kept weights on the validation split; 1.0 without one."""
    if phase.valid is None:
        return 1.0
    setting.network.model.eval()
    phase.model.eval()
    logits, labels = outputs(phase.model, phase.valid, nullcontext, setting.world)
    return fit_temperature(logits, labels)
