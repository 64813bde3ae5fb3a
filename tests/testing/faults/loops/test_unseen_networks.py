"""Networks of the unseen part and its own faults."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from clearsight.testing.faults.loops.networks import last_linear
from clearsight.testing.faults.loops.setup import LoopSettings
from clearsight.testing.faults.loops.unseen_networks import UNSEEN_TRAITS, network

WEIGHTS = "mobilenetv2_100_imagenet.safetensors"


def made(name: str = "strided_cnn", fault: str = "", **settings: object) -> nn.Module:
    torch.manual_seed(0)
    return network(name, 3, 32, fault, LoopSettings().changed(**settings), Path())


def forward(model: nn.Module) -> Tensor:
    outputs: Tensor = model(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    return outputs


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with weights of the right names and shapes."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "weights").mkdir()
    weights = {key: torch.full_like(value, 0.5) for key, value in made("mobilenetv2_mlp").state_dict().items()}
    save_file(weights, folder / "weights" / WEIGHTS)
    return folder


@pytest.mark.parametrize("name", list(UNSEEN_TRAITS))
def test_every_network_maps_images_to_outputs(name: str) -> None:
    model = made(name)
    assert forward(model).shape == (4, 3)
    assert last_linear(model)[2].out_features == 3
    traits = UNSEEN_TRAITS[name]
    kinds = [type(module) for module in model.modules()]
    assert any(issubclass(kind, nn.BatchNorm2d) for kind in kinds) == ("batch_norm" in traits)
    assert any(issubclass(kind, (nn.ReLU, nn.ReLU6)) for kind in kinds) == ("relu" in traits)
    assert ("random" in traits) != ("pretrained" in traits)


def test_a_frozen_backbone_leaves_the_head() -> None:
    model = made("mobilenetv2_mlp", freeze=True)
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {"classifier"}


def test_faults_of_the_other_parts_are_planted_too() -> None:
    assert not any(parameter.requires_grad for parameter in made(fault="everything_frozen").parameters())


@pytest.mark.parametrize(
    ("fault", "loaded"), [("", True), ("checkpoint_prefix", False), ("initialised_after_loading", False)]
)
def test_pretrained_weights_and_what_loses_them(fault: str, loaded: bool, shared: Path) -> None:
    model = network("mobilenetv2_mlp", 3, 32, fault, LoopSettings(pretrained=True), shared)
    weight = next(module.weight for module in model.modules() if isinstance(module, nn.Conv2d))
    assert bool((weight == 0.5).all()) == loaded


def test_functional_dropout_is_active_in_evaluation() -> None:
    healthy, faulty = made().eval(), made(fault="functional_dropout").eval()
    assert torch.equal(forward(healthy), forward(healthy))
    assert not torch.equal(forward(faulty), forward(faulty))


def test_features_without_gradient() -> None:
    model = made("densenet", "features_without_gradient")
    forward(model).sum().backward()  # type: ignore[no-untyped-call]
    with_gradient = {id(parameter) for parameter in model.parameters() if parameter.grad is not None}
    assert with_gradient == {id(parameter) for parameter in last_linear(model)[2].parameters()}


def test_layers_in_a_list_are_not_registered() -> None:
    healthy, faulty = made(), made(fault="layers_in_list")
    assert 0 < len(list(faulty.parameters())) < len(list(healthy.parameters()))
    assert all(layer.training for layer in faulty.eval().layers)  # type: ignore[union-attr]


def test_a_head_that_is_made_in_forward() -> None:
    model = made(fault="head_made_in_forward").eval()
    assert not torch.equal(forward(model), forward(model))
    assert len(list(model.parameters())) == len(list(made().parameters())) - 2
