"""The plan of a run states sizes, steps, settings and duration, with notes about what lowers accuracy or costs time."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from clearsight.core.events import RunPlan
from clearsight.core.recipe import Recipe
from clearsight.training.device import Placement, place
from clearsight.training.distributed import World
from clearsight.training.job import Phase
from clearsight.workflow.messages import plan_lines
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.run import plan as run_plan
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.run.plan import make_plan, run_seconds


def plan_of(data: Path, cache: Path, notes: tuple[str, ...] = (), **settings: Any) -> RunPlan:
    values = {"model": "tiny", "weights": "none", "limit": 100, "batch_size": 16, "epochs": 3, "threads": 1}
    recipe = Recipe().replace(**{**values, **settings})
    with run_process(recipe, World()) as placement:
        setup = make_setup(data, recipe, placement, LaunchContext(paths=Paths(cache=cache, weights=())))
        return make_plan(setup, build_phases(setup), notes)


def test_sizes_steps_and_settings(digits: Path, tmp_path: Path) -> None:
    plan = plan_of(digits, tmp_path, ("chosen by measuring",), accumulate=2)
    batches = -(-plan.images["train"] // 16)
    assert plan.steps == 3 * -(-batches // 2)
    assert (plan.classes, plan.batch_size, plan.epochs, plan.precision) == (10, 16, 3, "fp32")
    assert plan.trainable == plan.parameters > 1000
    assert plan.imbalance >= 1
    assert plan.seconds > 0
    assert plan.cached == ""
    assert plan.notes[-1] == "chosen by measuring"
    assert "input of 32 px" in " ".join(plan.notes)


def test_a_frozen_backbone_trains_the_head_alone_on_cached_features(digits: Path, tmp_path: Path) -> None:
    plan = plan_of(digits, tmp_path, freeze="backbone")
    assert plan.trainable < plan.parameters
    assert plan.cached
    assert plan.seconds > 0, "the features must be computed first"
    assert any("random weights" in note for note in plan.notes)


def test_a_frozen_backbone_that_cannot_be_cached_has_a_note_with_the_reason(digits: Path, tmp_path: Path) -> None:
    plan = plan_of(digits, tmp_path, freeze="backbone", augment="light")
    assert plan.cached == ""
    assert any(note.startswith("The frozen part is computed in every epoch: ") for note in plan.notes)


@pytest.mark.parametrize(("profile", "words"), [("off", ""), ("light", "0.5 s"), ("full", "operator by operator")])
def test_the_plan_states_what_is_profiled(digits: Path, tmp_path: Path, profile: str, words: str) -> None:
    plan = plan_of(digits, tmp_path, profile=profile, debug="off")
    assert words in plan.measured
    assert plan.saved == ()
    assert any(line.startswith("profile") for line in plan_lines(plan)) == (profile != "off")


def test_lines_of_the_plan(digits: Path, tmp_path: Path) -> None:
    plan = plan_of(digits, tmp_path)
    lines = plan_lines(plan)
    assert [line.split()[0] for line in lines[:6]] == ["data", "model", "weights", "input", "device", "work"]
    assert f"{plan.steps:,} steps of 16" in lines[5]
    assert all("\n" not in line for line in lines)


@pytest.fixture
def placement() -> Placement:
    return place(Recipe().replace(device="cpu", threads=1).train, World())


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def phase(model: nn.Module, **fields: Any) -> Phase:
    values: dict[str, Any] = {"name": "all", "epochs": 1, "train": None, "valid": None}
    values |= {"enter": list, "train_mode": model.train}
    return Phase(model=model, **{**values, **fields})


def seconds(phases: list[Phase], model: nn.Module, placement: Placement, images: tuple[int, int]) -> float:
    train, valid = map(range, images)
    network = SimpleNamespace(model=model, preprocess=SimpleNamespace(size=16))
    setup: Any = SimpleNamespace(train=train, valid=valid, network=network, placement=placement, world=World())
    return run_seconds(setup, phases)


def test_training_and_validation_images_count(
    model: nn.Module, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_plan, "step_seconds", lambda *_: 0.1)
    phases = [phase(model, epochs=2), phase(model, epochs=3)]
    # A validation image needs the forward pass alone, a third of a training step.
    assert seconds(phases, model, placement, (100, 30)) == pytest.approx(5 * 0.1 * (100 + 10))


def test_cached_phases_cost_nothing(model: nn.Module, placement: Placement) -> None:
    assert seconds([phase(model, cached=True)], model, placement, (10**6, 0)) == 0


def test_timing_does_not_change_the_network(model: nn.Module, placement: Placement) -> None:
    before = copy.deepcopy(model.state_dict())
    assert seconds([phase(model)], model, placement, (10, 10)) > 0
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
