"""A run is continued from its folder: after the first checkpoint neither the weights file nor its path is needed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from clearsight.core.errors import NotFound, NotResumable
from clearsight.core.events import EpochRecord, NullObserver, RunStatus
from clearsight.core.files import sha256
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.models.zoo import ModelSpec, build
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.train import resume, train

SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "image_size": 16,
    "limit": 120,
    "epochs": 3,
    "batch_size": 16,
    "threads": 1,
    "debug": "off",
    "profile": "off",
}

Launch = Callable[..., LaunchContext]


class StopAfter(NullObserver):
    """Asks to stop after an epoch, or before the first step for epoch 0."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.reached = epoch, epoch == 0

    def on_epoch(self, record: EpochRecord) -> None:
        self.reached = record.epoch >= self.epoch

    def halt(self) -> StopReason | None:
        return StopReason(StopKind.SIGNAL, "stopped by the test") if self.reached else None


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    def context(stop: int | None = None, cache: str = "cache") -> LaunchContext:
        paths = Paths(cache=tmp_path / cache, weights=())
        if stop is None:
            return LaunchContext(paths=paths)
        observer = StopAfter(stop)
        return LaunchContext(paths=paths, observers=[observer], halt=observer.halt)

    return context


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a tiny network that no seed of a run draws, with a mean of their own."""
    state = build(ModelSpec(model="tiny", classes=10, seed=99)).model.state_dict()
    path = tmp_path / "w.safetensors"
    declared = '{"architecture": "tiny", "pretrained_cfg": {"mean": [0.3, 0.3, 0.3], "input_size": [3, 32, 32]}}'
    save_file(state, path, metadata={"config": declared})
    return path


def same_model(first: Run, second: Run) -> bool:
    a, b = (load_file(run.bundle / "model.safetensors") for run in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("freeze", ["backbone", "none", "1"])
def test_a_moved_run_without_its_weights_and_with_moved_data_ends_with_the_same_bits(
    digits: Path, tmp_path: Path, weights: Path, launch: Launch, freeze: str
) -> None:
    whole = train(digits, out=tmp_path / "whole", launch=launch(), weights=str(weights), freeze=freeze, **SETTINGS)
    data = shutil.copytree(digits, tmp_path / "data")
    cut = train(data, out=tmp_path / "cut", launch=launch(1), weights=str(weights), freeze=freeze, **SETTINGS)
    assert cut.status is RunStatus.INTERRUPTED
    moved = (tmp_path / "cut").rename(tmp_path / "moved")
    weights.unlink()
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(NotFound, match=rf"write: clearsight train NEW_PATH --resume {moved}"):
        resume(moved, launch=launch())
    ended = resume(moved, data=tmp_path / "elsewhere", launch=launch(cache="another cache"))
    assert ended.status is RunStatus.COMPLETED
    assert same_model(whole, ended)
    assert Run.open(moved).data["path"] == str(tmp_path / "elsewhere")
    assert ended.weights == whole.weights


def test_a_run_records_the_file_and_the_digest_of_its_weights(
    digits: Path, tmp_path: Path, weights: Path, launch: Launch
) -> None:
    run = train(digits, out=tmp_path / "run", launch=launch(0), weights=str(weights), **SETTINGS)
    recorded = Run.open(run.path).weights
    assert (recorded["file"], recorded["sha256"]) == (str(weights), sha256(weights))
    assert recorded["preprocess"]["mean"] == [0.3, 0.3, 0.3]
    first_line = run.files.recipe.read_text().splitlines()[0]
    assert first_line == f"# trained from {weights}, sha256 {sha256(weights)}"


def test_before_the_first_checkpoint_the_weights_must_be_the_same(
    digits: Path, tmp_path: Path, weights: Path, launch: Launch
) -> None:
    run = train(digits, out=tmp_path / "run", launch=launch(0), weights=str(weights), **SETTINGS)
    for checkpoint in run.checkpoints.iterdir():
        checkpoint.unlink()
    state = {name: tensor + 1 for name, tensor in load_file(weights).items()}
    save_file(state, weights)
    with pytest.raises(NotResumable, match=rf"no checkpoint yet, and {weights} is not the file that it began with"):
        resume(run.path, launch=launch())
    weights.unlink()
    with pytest.raises(NotFound, match="--weights"):
        resume(run.path, launch=launch())


def test_other_data_at_the_new_place_are_refused(digits: Path, tmp_path: Path, launch: Launch) -> None:
    run = train(digits, out=tmp_path / "run", launch=launch(1), weights="none", **SETTINGS)
    other = shutil.copytree(digits, tmp_path / "other")
    for image in sorted((other / "train" / "3").iterdir())[:60]:
        image.unlink()
    with pytest.raises(NotResumable, match="the data have changed since the run began"):
        resume(run.path, data=other, launch=launch())
