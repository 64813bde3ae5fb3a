"""The estimated duration grows with epochs and images; cached phases cost nothing; the network stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from clearsight.core.recipe import Recipe
from clearsight.training.device import Placement, place
from clearsight.training.distributed import World
from clearsight.training.job import Phase
from clearsight.workflow.run import estimate
from clearsight.workflow.run.estimate import estimate_seconds


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


def test_training_and_validation_images_count(
    model: nn.Module, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_seconds_per_image", lambda *_: 0.1)
    phases = [phase(model, epochs=2), phase(model, epochs=3)]
    # A validation image needs the forward pass alone, a third of a training step.
    assert estimate_seconds(phases, model, 16, placement, (100, 30)) == pytest.approx(5 * 0.1 * (100 + 10))


def test_cached_phases_cost_nothing(model: nn.Module, placement: Placement) -> None:
    assert estimate_seconds([phase(model, cached=True)], model, 16, placement, (10**6, 0)) == 0


def test_timing_does_not_change_the_network(model: nn.Module, placement: Placement) -> None:
    before = copy.deepcopy(model.state_dict())
    assert estimate_seconds([phase(model)], model, 16, placement, (10, 10)) > 0
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
