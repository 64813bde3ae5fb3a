"""Continuing a run: with more epochs, or not at all where its newest checkpoint is gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadValue, NotResumable
from clearsight.core.events import NullObserver, RunPlan, RunStatus
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.train import resume, train

SMALL: dict[str, Any] = {
    "model": "tiny",
    "weights": "none",
    "image_size": 16,
    "limit": 80,
    "batch_size": 16,
    "threads": 1,
    "epochs": 2,
    "debug": "off",
    "profile": "off",
    "schedule": "cosine",
}


class Plans(NullObserver):
    """Keeps the plan of a run."""

    plan: RunPlan

    def on_plan(self, plan: RunPlan) -> None:
        self.plan = plan


@pytest.fixture(scope="module")
def ended(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("ended")
    return train(digits, out=folder / "run", launch=context(folder), **SMALL)


@pytest.fixture
def run(ended: Run, tmp_path: Path) -> Run:
    """Return a copy of a run that has ended."""
    shutil.copytree(ended.path, tmp_path / "run")
    return Run.open(tmp_path / "run")


def context(folder: Path, *observers: Any) -> LaunchContext:
    return LaunchContext(paths=Paths(cache=folder / "cache", weights=()), observers=observers)


def test_a_run_that_has_ended_gets_more_epochs(run: Run, tmp_path: Path) -> None:
    before, plans = run.epochs(), Plans()
    longer = resume(run.path, epochs=4, launch=context(tmp_path, plans))
    assert longer.status is RunStatus.COMPLETED
    assert longer.epochs()[:2] == [{**epoch, "epochs": 4} for epoch in before]
    assert [epoch["epoch"] for epoch in longer.epochs()] == [1, 2, 3, 4]
    assert Run.open(run.path).recipe.train.epochs == 4
    note = next(note for note in plans.plan.notes if "epochs now" in note)
    assert "4 epochs now and had 2: from epoch 3 on" in note
    assert "cosine schedule over 4 epochs" in note
    rates = [epoch["lr"] for epoch in longer.epochs()]
    assert rates[2] > rates[1] > rates[3], "the cosine over two epochs had come down to 0"


@pytest.mark.parametrize("epochs", [1, 0, -3])
def test_fewer_epochs_than_were_trained_are_refused(run: Run, epochs: int) -> None:
    with pytest.raises(BadValue, match="epochs"):
        resume(run.path, epochs=epochs)
    assert Run.open(run.path).recipe.train.epochs == 2


def test_a_run_out_of_patience_would_end_at_once(run: Run) -> None:
    run.recipe = run.recipe.replace(patience=1)
    run.finish(RunStatus.STOPPED_EARLY, StopReason(StopKind.PATIENCE, "no better accuracy in 1 epochs"))
    with pytest.raises(BadValue, match="--patience"):
        resume(run.path, epochs=9)


@pytest.mark.parametrize("gone", ["newest.safetensors", "."], ids=["the newest", "all"])
def test_a_run_whose_checkpoint_is_gone_does_not_begin_again(run: Run, gone: str) -> None:
    target = run.checkpoints / gone
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    model = (run.bundle / "model.safetensors").read_bytes()
    with pytest.raises(NotResumable, match="the newest checkpoint is gone, and the run has trained before") as caught:
        resume(run.path)
    assert f"--weights {run.path}" in str(caught.value)
    assert (run.bundle / "model.safetensors").read_bytes() == model


def test_a_run_that_was_killed_before_its_first_checkpoint_says_that_it_begins_again(run: Run, tmp_path: Path) -> None:
    shutil.rmtree(run.checkpoints)
    run.checkpoints.mkdir()
    run.best_epoch = None
    run.finish(RunStatus.RUNNING)
    plans = Plans()
    assert len(resume(run.path, launch=context(tmp_path, plans)).epochs()) == 2
    assert "The run has no checkpoint yet: its training starts at the first step again." in plans.plan.notes


def test_data_that_were_moved_are_named(run: Run, digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path / "moved")
    assert resume(run.path, data=tmp_path / "moved", launch=context(tmp_path)).data["path"] == str(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "train" / "3")
    shutil.copytree(digits / "test" / "3", tmp_path / "moved" / "train" / "3")
    with pytest.raises(NotResumable, match="the data have changed"):
        resume(run.path, data=tmp_path / "moved", launch=context(tmp_path))
