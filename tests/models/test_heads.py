"""Heads: shape, start and reproducibility."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clearsight.models.heads import build_head


def test_default_is_one_linear_layer() -> None:
    head = build_head(512, 6)
    assert isinstance(head, nn.Linear)
    assert head(torch.zeros(2, 512)).shape == (2, 6)


def test_hidden_layers_come_with_relu_and_dropout() -> None:
    head = build_head(512, 6, (750, 500, 250), 0.5)
    kinds = [type(part).__name__ for part in head.children()]
    assert kinds == ["Linear", "ReLU", "Dropout"] * 3 + ["Linear"]
    assert [part.out_features for part in head.children() if isinstance(part, nn.Linear)] == [750, 500, 250, 6]


def test_dropout_without_hidden_layers_drops_the_features() -> None:
    head = build_head(8, 3, (), 0.5)
    assert [name for name, _ in head.named_children()] == ["dropout", "logits"]


@pytest.mark.parametrize("classes", [2, 6, 100])
@pytest.mark.parametrize("features", [64, 1280, 4096])
@pytest.mark.parametrize("hidden", [(), (750, 500, 250)])
def test_first_loss_is_near_log_c(classes: int, features: int, hidden: tuple[int, ...]) -> None:
    head = build_head(features, classes, hidden)
    inputs = 2 * torch.randn(256, features, generator=torch.Generator().manual_seed(1)).relu()
    loss = F.cross_entropy(head(inputs), torch.arange(256) % classes).item()
    assert loss == pytest.approx(math.log(classes), rel=0.1)


def test_gradients_reach_the_features_from_the_first_step() -> None:
    inputs = torch.ones(1, 16, requires_grad=True)
    F.cross_entropy(build_head(16, 3)(inputs), torch.tensor([0])).backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0


def test_the_seed_alone_decides() -> None:
    torch.manual_seed(1)
    first = build_head(32, 4, (8,), seed=7).state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = build_head(32, 4, (8,), seed=7).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first["logits.weight"], build_head(32, 4, (8,), seed=8).state_dict()["logits.weight"])
