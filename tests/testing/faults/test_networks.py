"""Networks, healthy and with a planted fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from clearsight.core.errors import BadChoice
from clearsight.testing.faults.networks import head, network
from clearsight.testing.faults.setup import FaultSetup

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "name", ["small_cnn", "plain_cnn", "sigmoid_cnn", "sigmoid_mlp", "mobilenetv2", "resnet18", "vit_tiny"]
)
def test_outputs_have_a_logit_per_class(setup: FaultSetup, shared: Path, name: str) -> None:
    model = network(replace(setup, network=name), 10, shared).eval()
    assert model(IMAGES).shape == (4, 10)
    assert head(model).out_features == 10


def test_mobilenet_has_pretrained_weights_unless_the_recipe_says_none(setup: FaultSetup, shared: Path) -> None:
    pretrained, fresh, repeated = (
        network(replace(setup, network="mobilenetv2").changed(weights=weights), 6, shared).state_dict()
        for weights in ("default", "none", "default")
    )
    assert torch.equal(pretrained["conv_stem.weight"], repeated["conv_stem.weight"])
    assert not torch.equal(pretrained["conv_stem.weight"], fresh["conv_stem.weight"])


def test_zero_init_gives_equal_outputs_for_all_images(setup: FaultSetup, tmp_path: Path) -> None:
    assert torch.equal(*network(replace(setup, plant="zero_init"), 10, tmp_path)(IMAGES[:2]))


def test_huge_init_has_huge_logits(setup: FaultSetup, tmp_path: Path) -> None:
    assert network(replace(setup, plant="huge_init"), 10, tmp_path)(IMAGES).std() > 100


@pytest.mark.parametrize("name", ["small_cnn", "plain_cnn", "mobilenetv2", "resnet18"])
def test_dead_relu_bias_makes_all_outputs_zero(setup: FaultSetup, shared: Path, name: str) -> None:
    model = network(replace(setup, network=name, plant="dead_relu_bias"), 10, shared)
    assert torch.equal(*model(IMAGES)[:2])


def test_head_frozen_trains_something_but_not_the_head(setup: FaultSetup, tmp_path: Path) -> None:
    model = network(replace(setup, network="small_cnn", plant="head_frozen"), 10, tmp_path)
    assert not head(model).weight.requires_grad
    assert any(parameter.requires_grad for parameter in model.parameters())


def test_loss_on_softmax_gives_probabilities(setup: FaultSetup, tmp_path: Path) -> None:
    model = network(replace(setup, plant="loss_on_softmax"), 10, tmp_path)
    torch.testing.assert_close(model(IMAGES).sum(dim=1), torch.ones(4))
    assert isinstance(head(model), nn.Linear)


def test_an_unknown_network_is_an_error(setup: FaultSetup, tmp_path: Path) -> None:
    with pytest.raises(BadChoice):
        network(replace(setup, network="resnet"), 10, tmp_path)
