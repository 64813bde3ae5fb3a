"""HeadFile: what a head learned among others comes back whole, as the loop would have told it."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clearsight.core.errors import NotResumable
from clearsight.core.events import EpochRecord, RunStatus, StepRecord
from clearsight.training.heads.job import HeadResult
from clearsight.training.job import TrainingPosition
from clearsight.workflow.study.head_file import HeadFile
from tests.training.heads.test_train import alone, recipe, similar, together

IMAGES, BATCH, STEPS = 70, 32, 3  # two whole batches and one of six


def epoch(number: int, accuracy: float, *, best: bool) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        epochs=5,
        step=number * STEPS,
        lr=0.01 / number,
        train={"loss": 1 / number, "accuracy": 0.5},
        valid={"loss": 0.7, "accuracy": accuracy},
        images_per_second=1000.0,
        data_share=0.0,
        seconds=0.3,
        best=best,
    )


RESULT = HeadResult(
    number=7,
    status=RunStatus.STOPPED_EARLY,
    reason="no better accuracy in 1 epochs",
    stopped="",
    steps_per_epoch=STEPS,
    loss=np.linspace(2, 1, 3 * STEPS),
    accuracy=np.linspace(0.1, 0.9, 3 * STEPS),
    lr=np.full(3 * STEPS, 0.01),
    epochs=(epoch(1, 0.6, best=True), epoch(2, 0.8, best=True), epoch(3, 0.7, best=False)),
    best_epoch=2,
    best_score=(0.8, -0.7),
    seconds=0.9,
    best_valid={"loss": 0.7, "accuracy": 0.8},
    best_state={"weight": torch.randn(3, 8), "bias": torch.randn(3)},
)


def written(folder: Path, result: HeadResult = RESULT) -> HeadFile:
    HeadFile.of(result).write(folder / "head.safetensors")
    return HeadFile.read(folder / "head.safetensors")


def test_comes_back_whole(tmp_path: Path) -> None:
    kept = written(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "head.safetensors"]
    assert set(kept.weights) == set(RESULT.best_state)
    assert all(torch.equal(tensor, RESULT.best_state[name]) for name, tensor in kept.weights.items())
    for name, values in {"loss": RESULT.loss, "accuracy": RESULT.accuracy, "lr": RESULT.lr}.items():
        assert kept.steps[name].tolist() == pytest.approx(values.tolist())
    assert kept.epochs == RESULT.epochs
    assert (kept.best_epoch, kept.best_score, kept.best_valid) == (2, (0.8, -0.7), RESULT.best_valid)


def test_a_newer_file_takes_the_place_of_the_older(tmp_path: Path) -> None:
    written(tmp_path)
    assert written(tmp_path, replace(RESULT, best_epoch=3)).best_epoch == 3


def test_no_score_and_no_number_come_back_too(tmp_path: Path) -> None:
    strange = replace(epoch(1, math.nan, best=True), valid={"loss": math.nan, "accuracy": math.inf})
    kept = written(tmp_path, replace(RESULT, best_score=None, best_epoch=1, epochs=(strange,)))
    assert kept.best_score is None
    assert math.isnan(kept.epochs[0].valid["loss"])
    assert math.isinf(kept.epochs[0].valid["accuracy"])


def test_steps_and_epochs_are_told_in_the_order_of_a_run(tmp_path: Path) -> None:
    records = list(written(tmp_path).records(IMAGES, BATCH))
    kinds = [type(record) for record in records]
    assert kinds == [StepRecord, StepRecord, StepRecord, EpochRecord] * 3
    steps = [record for record in records if isinstance(record, StepRecord)]
    assert [step.step for step in steps] == list(range(1, 10))
    assert [step.epoch for step in steps] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [step.samples for step in steps] == [32, 32, 6] * 3
    assert [step.scalars["loss"] for step in steps] == pytest.approx(RESULT.loss.tolist())
    assert all(set(step.scalars) == {"loss", "accuracy", "lr"} for step in steps)
    assert sum(step.step_seconds for step in steps) == pytest.approx(sum(e.seconds for e in RESULT.epochs))
    assert tuple(record for record in records if isinstance(record, EpochRecord)) == RESULT.epochs


def test_the_position_is_that_of_a_run_that_is_over(tmp_path: Path) -> None:
    """Also when it ended before its time: a run that has lost its patience has no epoch to come."""
    assert written(tmp_path).position(5) == TrainingPosition(
        epoch=6,
        step=9,
        phase_step=9,
        best_epoch=2,
        best_score=(0.8, -0.7),
        best_valid={"loss": 0.7, "accuracy": 0.8},
        stale=1,
    )


@pytest.mark.parametrize("patience", [2, None])
def test_the_position_is_the_one_that_the_loop_comes_to(tmp_path: Path, patience: int | None) -> None:
    how = recipe(epochs=6, patience=patience, lr=0.1, schedule="constant", monitor="loss")
    [result] = together([how], similar())
    theirs = dict(alone(how, similar(), tmp_path / "run").position)
    mine = asdict(written(tmp_path, result).position(6))
    assert list(mine.pop("best_score")) == pytest.approx(theirs.pop("best_score"), rel=1e-4)
    assert mine.pop("best_valid") == pytest.approx(theirs.pop("best_valid"), rel=1e-4)
    assert mine == theirs


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "no facts", "other facts"])
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, damage: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "head.safetensors"
    HeadFile.of(RESULT).write(path)
    if damage == "missing":
        path.unlink()
    elif damage in ("empty", "cut"):
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -5])
    else:
        save_file({"weight": torch.zeros(2)}, path, metadata=None if damage == "no facts" else {"facts": "[]"})
    with pytest.raises(NotResumable, match=r"head.safetensors: the weights of this trial cannot be read"):
        HeadFile.read(path)
