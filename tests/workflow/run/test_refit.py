"""--refit trains again on training and validation images, up to the best epoch, and delivers those weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from clearsight.core.dataset import ClassMap, Dataset, Sample
from clearsight.core.events import EpochRecord, NullObserver, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.job import TrainingResult
from clearsight.training.stop import StopSignal
from clearsight.workflow.messages import end_lines, epoch_line
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.launch import launch_run, resume_run
from clearsight.workflow.run.refit import Refit, train_on_validation

SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "weights": "none",
    "image_size": 16,
    "limit": 120,
    "epochs": 3,
    "batch_size": 16,
    "threads": 1,
    "augment": "light",
    "debug": "off",
    "profile": "off",
    "refit": True,
}


class Epochs(NullObserver):
    """Keeps the epochs; `halt` asks the run to stop once the refit has trained one."""

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []

    def on_epoch(self, record: EpochRecord) -> None:
        self.records.append(record)

    def halt(self) -> StopReason | None:
        refitted = any(record.training == "refit" for record in self.records)
        return StopReason(StopKind.SIGNAL, "stopped by a test") if refitted else None


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return Paths(cache=tmp_path_factory.mktemp("cache"), weights=())


@pytest.fixture(scope="module")
def refitted(digits: Path, tmp_path_factory: pytest.TempPathFactory, paths: Paths) -> tuple[Run, Epochs]:
    epochs = Epochs()
    launch = LaunchContext(paths=paths, observers=[epochs])
    folder = tmp_path_factory.mktemp("runs") / "refitted"
    return launch_run(digits, folder, Recipe().replace(**SETTINGS), launch), epochs


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.bundle / "model.safetensors")


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_trains_on_validation_images_up_to_the_best_epoch(refitted: tuple[Run, Epochs]) -> None:
    run, epochs = refitted
    counts = {split: sum(per_class.values()) for split, per_class in run.data["counts"].items()}
    assert run.refit == {"epochs": run.best_epoch, "images": counts["train"] + counts["valid"], "reason": ""}
    second = [record for record in epochs.records if record.training == "refit"]
    assert [(record.epoch, record.epochs) for record in second] == [(n, run.best_epoch) for n in range(1, 4)]
    assert all(record.valid == {} for record in second)  # no image is left to validate
    assert epoch_line(second[0]).startswith("refit 1/3  train")


def test_scores_and_curves_are_those_of_the_first_training(refitted: tuple[Run, Epochs], digits: Path) -> None:
    run, epochs = refitted
    first = [record for record in epochs.records if record.training == "run"]
    assert run.best_epoch is not None
    assert run.scores["valid"] == first[run.best_epoch - 1].valid
    assert [epoch["valid"]["loss"] for epoch in run.epochs()] == [record.valid["loss"] for record in first]
    assert any(line.startswith("refit    3 epochs on ") for line in end_lines(run))


def test_the_model_has_the_weights_of_the_second_training(refitted: tuple[Run, Epochs]) -> None:
    run, _ = refitted
    second = load_file(run.files.refit_checkpoints / "best.safetensors")
    assert equal(weights(run), second)
    assert not equal(weights(run), load_file(run.checkpoints / "best.safetensors"))


def test_an_interrupted_refit_continues_to_the_same_bits(
    digits: Path, tmp_path: Path, paths: Paths, refitted: tuple[Run, Epochs]
) -> None:
    epochs = Epochs()
    launch = LaunchContext(paths=paths, observers=[epochs], halt=epochs.halt)
    run = launch_run(digits, tmp_path / "run", Recipe().replace(**SETTINGS), launch)
    assert (run.status, run.has_bundle, run.refit) == (RunStatus.INTERRUPTED, False, None)
    again = Epochs()
    run = resume_run(tmp_path / "run", LaunchContext(paths=paths, observers=[again]))
    assert run.status is RunStatus.COMPLETED
    assert [record.epoch for record in again.records] == [2, 3]  # the first training is not repeated
    assert equal(weights(run), weights(refitted[0]))
    assert run.scores == refitted[0].scores


def result(stop: StopReason | None) -> TrainingResult:
    return TrainingResult(status=RunStatus.COMPLETED, stop=stop, best_epoch=1, valid={}, images_per_second=1.0)


@pytest.mark.parametrize(
    ("valid", "stop", "reason"),
    [
        (0, None, "there are no validation images to add"),
        (5, StopReason(StopKind.TIME_LIMIT, "the time limit of 1 s was reached"), "the time limit of 1 s was reached"),
    ],
)
def test_a_refit_that_cannot_be_done_is_said(tmp_path: Path, valid: int, stop: StopReason | None, reason: str) -> None:
    run = Run.begin(tmp_path / "run", Recipe())
    setup: Any = type("Setup", (), {"valid": range(valid)})()
    first = result(stop)
    assert Refit(run=run, setup=setup, stop=StopSignal(), observers=[]).train(first) is first
    assert run.refit == {"epochs": 0, "images": 0, "reason": reason}
    assert any("not done (" in line for line in end_lines(run))


def test_test_images_stay_out_of_it() -> None:
    splits = ("train", "valid", "test")
    samples = tuple(Sample(id=split, locator=split, label=0, split=split) for split in splits)  # type: ignore[arg-type]
    source: Any = None
    data = Dataset(samples=samples, classes=ClassMap(("a", "b")), source=source)
    together = train_on_validation(data)
    assert [sample.split for sample in together.samples] == ["train", "train", "test"]
    assert [replace(sample, split="train").id for sample in together.samples] == list(splits)
