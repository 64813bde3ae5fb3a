"""A trained run gets a bundle, test scores and a report; an unfinished one keeps its checkpoints alone."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearsight.core.events import NullObserver, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.calibration import Calibration
from clearsight.training.distributed import World
from clearsight.training.job import TrainingResult
from clearsight.workflow.run import delivery
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.delivery import Trained, deliver
from clearsight.workflow.run.final_steps import FinalSteps

STOPPED = StopReason(StopKind.SIGNAL, "stopped by SIGINT")


def outcome(status: RunStatus, *, best_epoch: int | None = 2, stop: StopReason | None = None) -> TrainingResult:
    valid = {"loss": 0.5, "accuracy": 0.8} if best_epoch else {}
    return TrainingResult(status=status, stop=stop, best_epoch=best_epoch, valid=valid, images_per_second=100.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.begin(tmp_path / "run", Recipe())


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the steps of a delivery, in the order in which they were called."""
    names: list[str] = []
    for name in ("_calibrate", "save_weights", "add_onnx", "_measure", "write_report"):
        monkeypatch.setattr(
            delivery, name, lambda *_, name=name: names.append(name) or Calibration(1.0, 1, 0, 0, 0, 0, 0)
        )
    monkeypatch.setattr(delivery, "_manifest", lambda *_: None)
    return names


def setup_of(world: World) -> Any:
    network = SimpleNamespace(preprocess=None)
    placement = SimpleNamespace(device="cpu")
    data = SimpleNamespace(changed=set())
    return SimpleNamespace(network=network, recipe=None, data=data, placement=placement, progress=None, world=world)


def trained(result: TrainingResult, world: World = World(), refit: Any = None) -> Trained:  # noqa: B008 - frozen
    phase: Any = None
    return Trained(setup=setup_of(world), phase=phase, result=result, refit=refit)


def final_steps(run: Run) -> FinalSteps:
    return FinalSteps(run, NullObserver().on_failed_step)


def record(run: Run, result: TrainingResult, started: float, world: World = World()) -> None:  # noqa: B008 - frozen
    launch = LaunchContext(started=started, ending="record")
    deliver(run, final_steps(run), trained(result, world), launch)


def test_a_recorded_result_has_scores_duration_and_the_reason(run: Run) -> None:
    record(run, outcome(RunStatus.STOPPED_EARLY, stop=STOPPED), time.monotonic() - 10)
    saved = Run.open(run.path)
    assert (saved.status, saved.reason, saved.stop_kind) == (RunStatus.STOPPED_EARLY, STOPPED.text, StopKind.SIGNAL)
    assert (saved.best_epoch, saved.images_per_second) == (2, 100.0)
    assert saved.scores == {"valid": {"loss": 0.5, "accuracy": 0.8}, "test": None}
    assert saved.seconds == pytest.approx(10, abs=1)


def test_seconds_add_up_over_resumes(run: Run) -> None:
    for _ in range(2):
        record(run, outcome(RunStatus.COMPLETED), time.monotonic() - 10)
    assert Run.open(run.path).seconds == pytest.approx(20, abs=2)


def test_without_validation_there_are_no_scores(run: Run) -> None:
    record(run, outcome(RunStatus.COMPLETED, best_epoch=None), time.monotonic())
    assert Run.open(run.path).scores == {"valid": None, "test": None}


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.STOPPED_EARLY])
def test_an_ended_training_is_bundled_measured_and_reported(run: Run, steps: list[str], status: RunStatus) -> None:
    deliver(run, final_steps(run), trained(outcome(status)), LaunchContext())
    assert steps == ["_calibrate", "save_weights", "add_onnx", "_measure", "write_report"]
    assert Run.open(run.path).status is status


@pytest.mark.parametrize(
    ("status", "best_epoch"),
    [(RunStatus.INTERRUPTED, 2), (RunStatus.DIVERGED, 2), (RunStatus.STOPPED_EARLY, None)],
)
def test_an_unfinished_training_has_a_report_and_no_bundle(
    run: Run, steps: list[str], status: RunStatus, best_epoch: int | None
) -> None:
    result = outcome(status, best_epoch=best_epoch)
    deliver(run, final_steps(run), trained(result), LaunchContext())
    assert steps == ["write_report"]
    assert Run.open(run.path).status is status


def test_other_processes_write_nothing(run: Run, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "wait", lambda self: None)
    world = World(rank=1, size=2)
    deliver(run, final_steps(run), trained(outcome(RunStatus.COMPLETED), world), LaunchContext())
    record(run, outcome(RunStatus.COMPLETED), time.monotonic(), world)
    assert steps == ["_calibrate"]  # all ranks share its images
    assert Run.open(run.path).status is RunStatus.RUNNING


class StandInRefit:
    """A refit that gives another result, or fails."""

    def __init__(self, action: Any) -> None:
        self.train = action


def test_a_refit_comes_after_the_calibration_and_before_the_model(run: Run, steps: list[str]) -> None:
    refit = StandInRefit(lambda result: steps.append("refit") or result)
    deliver(run, final_steps(run), trained(outcome(RunStatus.COMPLETED), refit=refit), LaunchContext())
    assert steps[:3] == ["_calibrate", "refit", "save_weights"]


def test_an_interrupted_refit_leaves_a_run_that_can_be_resumed(run: Run, steps: list[str]) -> None:
    refit = StandInRefit(lambda result: outcome(RunStatus.INTERRUPTED, stop=STOPPED))
    deliver(run, final_steps(run), trained(outcome(RunStatus.COMPLETED), refit=refit), LaunchContext())
    assert steps == ["_calibrate", "write_report"]
    assert Run.open(run.path).status is RunStatus.INTERRUPTED


def test_a_refit_that_fails_leaves_the_model_of_the_first_training(run: Run, steps: list[str]) -> None:
    refit = StandInRefit(lambda result: [][1])
    deliver(run, final_steps(run), trained(outcome(RunStatus.COMPLETED), refit=refit), LaunchContext())
    assert steps == ["_calibrate", "save_weights", "add_onnx", "_measure", "write_report"]
    assert [step["step"] for step in run.failed_steps] == ["refit"]
