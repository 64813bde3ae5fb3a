"""WorkerResources travel to a worker as JSON values; reasons stop a trial between two epochs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from clearsight.core.events import EpochRecord
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.reporter import WorkerResources, chance_level_reason, interruption, stop_after_epoch

PATHS = Paths(cache=Path("/cache"), weights=(Path("/w1"), Path("/w2")))


@pytest.mark.parametrize(
    "resources",
    [WorkerResources(paths=PATHS), WorkerResources(paths=PATHS, device="cuda:1", threads=3)],
)
def test_resources_come_back(resources: WorkerResources) -> None:
    assert WorkerResources.from_json(json.loads(json.dumps(resources.to_json()))) == resources


def test_device_and_threads_are_unset_by_default() -> None:
    assert (WorkerResources(paths=PATHS).device, WorkerResources(paths=PATHS).threads) == ("auto", None)


CHANCE_LOSS = math.log(10)


class Reporter:
    """A reporter with fixed replies, which keeps what is reported."""

    def __init__(self, *, stop: str = "", interruption: str = "") -> None:
        self._stop, self._interruption = stop, interruption
        self.reported: list[tuple[int, int, Mapping[str, float]]] = []

    def report_epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        self.reported.append((number, epoch, scores))
        return self._stop

    def interruption(self) -> str:
        return self._interruption


def record(
    epoch: int,
    epochs: int = 12,
    *,
    loss: float | None = CHANCE_LOSS,
    accuracy: float | None = 0.1,
    roc_auc: float | None = None,
) -> EpochRecord:
    train = {name: value for name, value in (("loss", loss), ("accuracy", accuracy)) if value is not None}
    return EpochRecord(
        epoch=epoch,
        epochs=epochs,
        step=epoch,
        lr=0.1,
        train=train,
        valid={} if roc_auc is None else {"roc_auc": roc_auc},
        images_per_second=1.0,
        data_share=0.0,
        seconds=1.0,
        best=False,
    )


def test_the_rules_load_no_torch() -> None:
    code = "import sys, clearsight.workflow.study.reporter; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_interruption_has_the_reason_of_the_study() -> None:
    assert interruption(Reporter()) is None
    reason = interruption(Reporter(interruption="the study was interrupted"))
    assert reason == StopReason(StopKind.SIGNAL, "the study was interrupted")


def test_an_epoch_is_reported_with_its_scores() -> None:
    reporter = Reporter()
    assert stop_after_epoch(reporter, 7, record(1, roc_auc=0.9), 10) is None
    assert reporter.reported == [(7, 1, {"roc_auc": 0.9})]


def test_the_pruner_comes_before_the_chance_level() -> None:
    pruned = StopReason(StopKind.PRUNED, "worse than the others")
    assert stop_after_epoch(Reporter(stop="worse than the others"), 7, record(4), 10) == pruned
    at_chance = stop_after_epoch(Reporter(), 7, record(4), 10)
    assert at_chance is not None
    assert at_chance.kind is StopKind.AT_CHANCE


# --- chance level -----------------------------------------------------------------------------------------------------


def test_loss_and_accuracy_of_a_random_guess_are_at_chance_level() -> None:
    assert chance_level_reason(record(4, accuracy=0.11), 10) == (
        "the model is at chance level after 4 of 12 epochs: training loss 2.303 (log 10 is 2.303), accuracy 0.110"
    )


def test_a_loss_far_above_that_of_a_random_guess_is_not() -> None:
    """A high learning rate causes it, and the trial may become the best of all once the rate falls."""
    assert chance_level_reason(record(4, loss=1.01 * CHANCE_LOSS), 10) != ""
    assert chance_level_reason(record(4, loss=1.05 * CHANCE_LOSS), 10) == ""
    assert chance_level_reason(record(4, loss=50.0), 10) == ""


def test_an_accuracy_above_chance_is_not_whatever_the_loss() -> None:
    assert chance_level_reason(record(4, loss=5.0, accuracy=0.13), 10) == ""
    assert chance_level_reason(record(4, accuracy=0.12), 10) != ""  # within a fifth of chance


def test_a_loss_below_that_of_a_random_guess_is_not_whatever_the_accuracy() -> None:
    assert chance_level_reason(record(4, loss=0.97 * CHANCE_LOSS), 10) == ""


def test_two_classes_that_are_ranked_well_are_not() -> None:
    guess = {"loss": math.log(2), "accuracy": 0.5}
    assert chance_level_reason(record(4, **guess, roc_auc=0.8), 2) == ""
    assert chance_level_reason(record(4, **guess, roc_auc=0.55), 2) != ""


@pytest.mark.parametrize(("epochs", "first"), [(4, 3), (9, 3), (12, 4), (13, 5), (30, 10)])
def test_no_trial_is_judged_before_a_third_of_its_epochs_or_three(epochs: int, first: int) -> None:
    assert [bool(chance_level_reason(record(epoch, epochs), 10)) for epoch in range(1, epochs)] == [
        epoch >= first for epoch in range(1, epochs)
    ]


@pytest.mark.parametrize("epochs", [1, 2, 3, 12])
def test_no_trial_is_stopped_at_its_last_epoch(epochs: int) -> None:
    assert chance_level_reason(record(epochs, epochs), 10) == ""


def test_a_missing_score_stops_no_trial() -> None:
    assert chance_level_reason(record(4, loss=None), 10) == ""
    assert chance_level_reason(record(4, accuracy=None), 10) == ""


def test_one_class_counts_as_two() -> None:
    reason = chance_level_reason(record(4, loss=math.log(2), accuracy=0.5), 1)
    assert reason == chance_level_reason(record(4, loss=math.log(2), accuracy=0.5), 2)
    assert "log 2 is 0.693" in reason
