"""Stages, prefixes and suffixes: pieces of one network that share its weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from clearsight.core.errors import BadValue
from clearsight.models.network import evaluating, parameter_groups
from clearsight.models.zoo import ModelSpec, build


def test_parameter_names_stay_those_of_the_zoo() -> None:
    network = build(ModelSpec(model="resnet18", classes=3))
    names = dict(network.model.named_parameters())
    assert {"layer4.0.conv1.weight", "fc.weight", "fc.bias"} <= set(names)
    assert names["fc.weight"].shape == (3, 512)


def test_stages_of_resnet_are_its_layers() -> None:
    network = build(ModelSpec(model="resnet34", classes=3))
    assert network.stage_names == ("stem", "layer1", "layer2", "layer3", "layer4")
    assert network.features == 512
    with torch.inference_mode(), evaluating(network.prefix(4)) as prefix:
        assert prefix(torch.zeros(1, 3, 64, 64)).shape == (1, 256, 4, 4)


def test_prefix_and_suffix_share_the_weights() -> None:
    network = build(ModelSpec(model="tiny", classes=3))
    with torch.no_grad():
        for parameter in (*network.prefix(2).parameters(), *network.suffix(2).parameters()):
            parameter.zero_()
    assert all(not parameter.any() for parameter in network.model.parameters())


def test_the_last_suffix_is_the_head_alone() -> None:
    network = build(ModelSpec(model="tiny", classes=3, head=(16,)))
    suffix = network.suffix(len(network.stages))
    assert list(suffix.children()) == [network.head]
    assert suffix(torch.zeros(2, network.features)).shape == (2, 3)


def test_the_first_prefix_passes_images_through() -> None:
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(build(ModelSpec(model="tiny", classes=3)).prefix(0)(images), images)


def test_copies_of_a_prefix_are_independent() -> None:
    network = build(ModelSpec(model="densenet121", classes=3))  # its stage is a view of the model
    twin = copy.deepcopy(network.prefix(1))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert all(parameter.any() for name, parameter in network.model.named_parameters() if "conv" in name)


def test_hooks_on_the_model_do_not_fire_in_a_stage() -> None:
    network = build(ModelSpec(model="densenet121", classes=3))
    calls: list[object] = []
    with network.model.register_forward_hook(lambda *_: calls.append(1)):
        with torch.inference_mode():
            network.prefix(1).eval()(torch.zeros(1, 3, 32, 32))
        assert not calls


def test_biases_and_norms_do_not_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    decayed, rest = parameter_groups(model, 0.05)
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3, 3, 3), (2, 4)]
    assert (decayed["weight_decay"], rest["weight_decay"], len(rest["params"])) == (0.05, 0.0, 4)


def test_groups_hold_only_what_trains() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(model, 0.1)] == [2]
    model[1].requires_grad_(False)
    assert parameter_groups(model, 0.1) == []


def test_evaluating_puts_every_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    model[1].eval()
    before = [part.training for part in model.modules()]
    with evaluating(model):
        assert not any(part.training for part in model.modules())
    assert [part.training for part in model.modules()] == before == [True, True, False, False]


@pytest.mark.parametrize(("model", "size"), [("timm/vit_tiny_patch16_224", 100), ("alexnet", 32)])
def test_a_size_that_does_not_fit_is_one_sentence(model: str, size: int) -> None:
    network = build(ModelSpec(model=model, classes=3))
    with pytest.raises(
        BadValue, match=rf"--image-size {size}: {model} does not take .* its own size: --image-size 224"
    ):
        network.with_preprocess(network.preprocess.model_copy(update={"size": size}))


def test_another_size_that_fits_changes_nothing_else() -> None:
    network = build(ModelSpec(model="timm/vit_tiny_patch16_224", classes=3))
    smaller = network.with_preprocess(network.preprocess.model_copy(update={"size": 96}))
    assert (smaller.preprocess.size, smaller.model) == (96, network.model)
    assert all(part.training for part in network.model.modules())
