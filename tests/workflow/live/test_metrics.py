"""LiveMetrics reads the growing metrics.jsonl of a run: steps, losses, finished epochs, and returns to a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clearsight.workflow.live.metrics import LiveMetrics


def append(path: Path, *rows: tuple[str, Any], step: int, epoch: int = 1, mode: str = "train") -> None:
    with path.open("a", encoding="utf-8") as file:
        for name, value in rows:
            row = {"step": step, "epoch": epoch, "mode": mode, "name": name, "value": value}
            file.write(json.dumps(row) + "\n")


def end_epoch(path: Path, *, step: int, epoch: int, best: bool = True) -> None:
    values = {"epoch_loss": 0.5, "epoch_lr": 0.1, "epoch_images_per_second": 100.0, "epoch_data_share": 0.2}
    values |= {"epoch_seconds": 3.0, "valid_loss": 0.6, "valid_accuracy": 0.7, "epoch_best": float(best)}
    append(path, *values.items(), step=step, epoch=epoch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def metrics(path: Path) -> LiveMetrics:
    return LiveMetrics(path, epochs=3)


def test_before_the_first_step_there_is_nothing(metrics: LiveMetrics) -> None:
    metrics.update()
    assert (metrics.step, metrics.losses, metrics.epochs) == (0, [], [])
    assert (metrics.step_seconds, metrics.data_share) == (None, None)


def test_an_update_reads_only_what_was_appended(path: Path, metrics: LiveMetrics) -> None:
    append(path, ("loss", 2.0), ("lr", 0.1), step=1)
    metrics.update()
    append(path, ("loss", 1.0), step=2)
    metrics.update()
    assert metrics.losses == [(1, 2.0), (2, 1.0)]
    assert metrics.scalars == {"loss": 1.0, "lr": 0.1}


def test_speeds_are_means_of_recent_steps(path: Path, metrics: LiveMetrics) -> None:
    for step in range(1, 101):
        append(path, ("step_seconds", 10.0 if step <= 50 else 0.5), ("data_seconds", 0.1), step=step)
    metrics.update()
    assert metrics.step_seconds == pytest.approx(0.5)  # the 50 slow steps are no longer recent
    assert metrics.data_share == pytest.approx(0.2)


def test_scalars_of_an_evaluation_are_no_training_steps(path: Path, metrics: LiveMetrics) -> None:
    append(path, ("loss", 1.0), step=1)
    append(path, ("loss", 9.0), step=2, mode="eval")
    metrics.update()
    assert (metrics.step, metrics.losses) == (1, [(1, 1.0)])


def test_an_epoch_is_finished_by_its_last_line(path: Path, metrics: LiveMetrics) -> None:
    append(path, ("epoch_loss", 0.5), ("valid_loss", 0.6), step=10)
    metrics.update()
    assert metrics.epochs == []
    path.unlink()
    end_epoch(path, step=10, epoch=1)
    end_epoch(path, step=20, epoch=2, best=False)
    metrics.update()
    first, second = metrics.epochs
    assert (first.epoch, first.epochs, first.step, first.best, second.best) == (1, 3, 10, True, False)
    assert (first.train, first.valid) == ({"loss": 0.5}, {"loss": 0.6, "accuracy": 0.7})
    assert (first.lr, first.images_per_second, first.data_share, first.seconds) == (0.1, 100.0, 0.2, 3.0)


def test_null_and_infinite_losses_are_no_points(path: Path, metrics: LiveMetrics) -> None:
    append(path, ("loss", None), step=1)
    append(path, ("loss", float("inf")), step=2)
    append(path, ("loss", 1.0), step=3)
    metrics.update()
    assert metrics.losses == [(3, 1.0)]


def test_a_rewritten_file_is_read_again_from_its_start(path: Path, metrics: LiveMetrics) -> None:
    for step in (1, 2, 3):
        append(path, ("loss", float(step)), step=step)
    metrics.update()
    path.unlink()
    append(path, ("loss", 1.0), step=1)
    metrics.update()
    assert (metrics.rewinds, metrics.losses, metrics.step) == (1, [(1, 1.0)], 1)
