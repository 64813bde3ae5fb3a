"""Networks of the loops and their faults."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from clearsight.testing.faults.loops.networks import TRAITS, last_linear, network, renew_last
from clearsight.testing.faults.loops.setup import LoopSettings

RANDOM = LoopSettings()


def made(name: str = "small_cnn", fault: str = "", settings: LoopSettings = RANDOM) -> nn.Module:
    torch.manual_seed(0)
    return network(name, 3, 32, fault, settings, Path())


def forward(model: nn.Module) -> Tensor:
    outputs: Tensor = model(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    return outputs


@pytest.mark.parametrize("name", list(TRAITS))
def test_every_network_maps_images_to_outputs(name: str) -> None:
    model = made(name)
    assert forward(model).shape == (4, 3)
    assert last_linear(model)[2].out_features == 3
    kinds = {type(module) for module in model.modules()}
    assert any(issubclass(kind, nn.BatchNorm2d) for kind in kinds) == ("batch_norm" in TRAITS[name])


def test_a_frozen_backbone_leaves_the_last_layer() -> None:
    model = made(settings=LoopSettings(freeze=True))
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["15.weight", "15.bias"]


def test_a_renewed_last_layer_is_another() -> None:
    model = made()
    before = last_linear(model)[2]
    renew_last(model)
    assert last_linear(model)[2] is not before
    assert last_linear(model)[2].weight.shape == before.weight.shape


def test_zero_weights() -> None:
    assert float(forward(made(fault="zero_init")).detach().std(dim=0).max()) == 0


def test_huge_weights() -> None:
    ratio = last_linear(made(fault="huge_init"))[2].weight / last_linear(made())[2].weight
    assert torch.allclose(ratio, torch.tensor(30.0))


def test_dead_relus_let_nothing_through() -> None:
    model = made(fault="dead_relu").train()
    features = nn.Sequential(*list(model.children())[:3])
    assert float(forward(features).detach().count_nonzero()) / features(torch.randn(4, 3, 32, 32)).numel() < 0.01


def test_everything_frozen() -> None:
    assert not any(parameter.requires_grad for parameter in made(fault="everything_frozen").parameters())


@pytest.mark.parametrize("fault", ["features_detached", "head_frozen"])
def test_gradients_reach_one_side_alone(fault: str) -> None:
    model = made(fault=fault)
    forward(model).sum().backward()  # type: ignore[no-untyped-call]
    with_gradient = {id(parameter) for parameter in model.parameters() if parameter.grad is not None}
    last = {id(parameter) for parameter in last_linear(model)[2].parameters()}
    assert (with_gradient == last) if fault == "features_detached" else not with_gradient & last
    assert with_gradient


@pytest.mark.parametrize(("fault", "kind"), [("sigmoid_deep", nn.Sigmoid), ("tanh_saturated", nn.Tanh)])
def test_other_activations(fault: str, kind: type[nn.Module]) -> None:
    kinds = [type(module) for module in made("resnet8", fault).modules()]
    assert kinds.count(kind) == 7
    assert nn.ReLU not in kinds
    assert nn.BatchNorm2d not in kinds


def test_slow_norms_and_a_relu_behind_the_logits() -> None:
    norms = [m for m in made(fault="batch_norm_slow").modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.001}
    assert float(forward(made(fault="relu_on_logits")).detach().min()) >= 0
