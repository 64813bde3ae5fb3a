"""HeadFile: the training of a head in a stack comes back whole, as the training loop would have recorded it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clearsight.core.errors import NotResumable
from clearsight.core.events import EpochRecord, RunStatus, StepRecord
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.heads.job import HeadResult
from clearsight.training.job import EpochSelection, TrainingPosition
from clearsight.workflow.study.head_file import HeadFile
from tests.training.stacks import recipe, similar, train_alone, train_together

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
    stop=StopReason(StopKind.PATIENCE, "no better accuracy in 1 epochs"),
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


def test_a_file_comes_back_whole(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "head.safetensors"]
    assert set(file.weights) == set(RESULT.best_state)
    assert all(torch.equal(tensor, RESULT.best_state[name]) for name, tensor in file.weights.items())
    for name, values in {"loss": RESULT.loss, "accuracy": RESULT.accuracy, "lr": RESULT.lr}.items():
        assert file.steps[name].tolist() == pytest.approx(values.tolist())
    assert file.epochs == RESULT.epochs
    assert (file.best_epoch, file.best_score, file.best_valid) == (2, (0.8, -0.7), RESULT.best_valid)


def test_a_file_is_replaced(tmp_path: Path) -> None:
    written(tmp_path)
    assert written(tmp_path, replace(RESULT, best_epoch=3)).best_epoch == 3


def test_no_score_nan_and_infinity_come_back(tmp_path: Path) -> None:
    strange = replace(epoch(1, math.nan, best=True), valid={"loss": math.nan, "accuracy": math.inf})
    file = written(tmp_path, replace(RESULT, best_score=None, best_epoch=1, epochs=(strange,)))
    assert file.best_score is None
    assert math.isnan(file.epochs[0].valid["loss"])
    assert math.isinf(file.epochs[0].valid["accuracy"])


def test_records_have_the_order_of_a_run(tmp_path: Path) -> None:
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


def test_the_position_is_that_of_a_run_that_has_ended(tmp_path: Path) -> None:
    """Also after an early end: no epoch follows."""
    assert written(tmp_path).position(5) == TrainingPosition(
        epoch=6,
        step=9,
        phase_step=9,
        selection=EpochSelection(
            best_epoch=2, best_score=(0.8, -0.7), best_valid={"loss": 0.7, "accuracy": 0.8}, stale=1
        ),
    )


@pytest.mark.parametrize("patience", [2, None])
def test_the_position_is_that_of_the_training_loop(tmp_path: Path, patience: int | None) -> None:
    head_recipe = recipe(epochs=6, patience=patience, lr=0.1, schedule="constant", monitor="loss")
    [result] = train_together([head_recipe], similar())
    loop_position = dict(train_alone(head_recipe, similar(), tmp_path / "run").position)
    head_position = written(tmp_path, result).position(6).to_json()
    assert list(head_position.pop("best_score")) == pytest.approx(loop_position.pop("best_score"), rel=1e-4)
    assert head_position.pop("best_valid") == pytest.approx(loop_position.pop("best_valid"), rel=1e-4)
    assert head_position == loop_position


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "no facts", "other facts"])
def test_a_damaged_file_is_an_error(tmp_path: Path, damage: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "head.safetensors"
    HeadFile.of(RESULT).write(path)
    if damage == "missing":
        path.unlink()
    elif damage in ("empty", "cut"):
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -5])
    else:
        save_file({"weight": torch.zeros(2)}, path, metadata=None if damage == "no facts" else {"facts": "[]"})
    with pytest.raises(NotResumable, match=r"head.safetensors: it cannot be read"):
        HeadFile.read(path)
