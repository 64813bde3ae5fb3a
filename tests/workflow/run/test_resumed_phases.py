"""Two phases of pretrained weights, cut in either one and continued without the weights file, end with equal bits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clearsight.core.events import NullObserver, RunStatus, StepRecord
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare import second_phase
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.launch import launch_run, resume_run


class Cut(NullObserver):
    """Asks for a stop after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.taken = steps, 0

    def on_step(self, record: StepRecord) -> None:
        self.taken = record.step

    def halt(self) -> StopReason | None:
        return StopReason(StopKind.SIGNAL, "stopped by a test") if self.taken >= self.steps else None


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoints / "newest.safetensors")


@pytest.fixture(scope="module")
def recipe(real_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    copy = shutil.copy(real_weights, tmp_path_factory.mktemp("weights") / "w.safetensors")
    small = {"limit": 60, "image_size": 64, "batch_size": 16, "head_epochs": 2, "epochs": 3}
    return Recipe().replace(
        model="timm/mobilenetv2_100", weights=str(copy), threads=1, debug="off", profile="off", **small
    )


@pytest.fixture(scope="module")
def whole(recipe: Recipe, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("whole")
    return launch_run(scenes, folder / "run", recipe, LaunchContext(paths=Paths(cache=folder / "cache", weights=())))


STEPS = pytest.mark.parametrize("steps", [2, 5], ids=["in the first phase", "in the second phase"])


@STEPS
def test_a_cut_run_continues_to_the_same_bits(
    steps: int, recipe: Recipe, scenes: Path, whole: Run, tmp_path: Path
) -> None:
    check(steps, recipe, scenes, whole, tmp_path)


@pytest.fixture(scope="module")
def if_needed(recipe: Recipe) -> Recipe:
    return recipe.replace(second_phase="if_needed", reset_head=True, augment="none", backbone_lr_factor=1.0)


@pytest.fixture(scope="module")
def whole_if_needed(if_needed: Recipe, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("if_needed")
    launch = LaunchContext(paths=Paths(cache=folder / "cache", weights=()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second_phase, "ENOUGH_ERRORS", 5)
        return launch_run(scenes, folder / "run", if_needed, launch)


@STEPS
def test_a_second_phase_that_is_decided_on_the_way_too(
    steps: int,
    if_needed: Recipe,
    scenes: Path,
    whole_if_needed: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(second_phase, "ENOUGH_ERRORS", 5)
    assert len(whole_if_needed.epochs()) == 3
    resumed = check(steps, if_needed, scenes, whole_if_needed, tmp_path)
    assert resumed.second_phase == whole_if_needed.second_phase
    assert " validation images " in resumed.second_phase
    for page in (resumed.files.log, resumed.files.report):
        assert resumed.second_phase in page.read_text(), page
    assert (resumed.best_epoch, resumed.scores) == (whole_if_needed.best_epoch, whole_if_needed.scores)


def check(steps: int, recipe: Recipe, scenes: Path, whole: Run, tmp_path: Path) -> Run:
    """Cut a run after some steps, continue it, and compare it with the whole run; return it."""
    cut, paths = Cut(steps), Paths(cache=tmp_path / "cache", weights=())
    launch = LaunchContext(paths=paths, observers=[cut], halt=cut.halt)
    assert launch_run(scenes, tmp_path / "run", recipe, launch).status is RunStatus.INTERRUPTED
    shutil.rmtree(tmp_path / "cache" / "features")  # or the features of the pretrained backbone would be found there
    file = Path(recipe.model.weights)
    file.rename(file.with_suffix(".gone"))
    try:
        resumed = resume_run(tmp_path / "run", LaunchContext(paths=paths))
    finally:
        file.with_suffix(".gone").rename(file)
    first, second = weights(whole), weights(resumed)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    # Features of a phase that has ended are not computed again.
    assert (tmp_path / "cache" / "features").exists() == (steps < 4)
    return resumed
