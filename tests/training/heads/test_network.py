"""Heads that can be stacked; a stack computes the logits and gradients of each head alone."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from clearsight.models.heads import build_head
from clearsight.training.heads.network import HeadLayer, StackedNetwork, layers_of, stackable
from clearsight.training.step import step_generator

RELU, LINEAR = nn.ReLU(), nn.Linear(4, 4)

STACKABLE: dict[str, nn.Module] = {
    "a linear layer": nn.Linear(8, 3),
    "as build_head makes it": build_head(8, 3, (6, 5), 0.3),
    "as build_head makes it, dropped features": build_head(8, 3, (), 0.3),
    "no activation between": nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 3)),
    "one ReLU twice": nn.Sequential(nn.Linear(8, 4), RELU, nn.Linear(4, 4), RELU, nn.Linear(4, 3)),
}

frozen = nn.Linear(8, 3)
frozen.bias.requires_grad_(False)

NOT_STACKABLE: dict[str, nn.Module] = {
    "a convolution": nn.Conv2d(3, 4, 1),
    "a convolution within": nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 3)),
    "a norm": nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 3)),
    "batch statistics": nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)),
    "no bias": nn.Linear(8, 3, bias=False),
    "no bias within": nn.Sequential(nn.Linear(8, 4, bias=False), nn.ReLU(), nn.Linear(4, 3)),
    "another activation": nn.Sequential(nn.Linear(8, 4), nn.GELU(), nn.Linear(4, 3)),
    "ReLU of the features": nn.Sequential(nn.ReLU(), nn.Linear(8, 3)),
    "dropout before the ReLU": nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.1), nn.ReLU(), nn.Linear(4, 3)),
    "something after the logits": nn.Sequential(nn.Linear(8, 3), nn.ReLU()),
    "a chain in a chain": nn.Sequential(nn.Sequential(nn.Linear(8, 3))),
    "nothing": nn.Sequential(),
    "one layer twice": nn.Sequential(nn.Linear(8, 4), LINEAR, nn.ReLU(), LINEAR),
    "a frozen part": frozen,
    "double precision": nn.Linear(8, 3).double(),
    "a kind of its own": nn.modules.linear.NonDynamicallyQuantizableLinear(8, 3),
}


@pytest.mark.parametrize("head", STACKABLE.values(), ids=STACKABLE)
def test_chains_of_linear_layers_are_stackable(head: nn.Module) -> None:
    assert stackable(head)


@pytest.mark.parametrize("head", NOT_STACKABLE.values(), ids=NOT_STACKABLE)
def test_anything_else_is_not(head: nn.Module) -> None:
    assert not stackable(head)


def test_a_layer_knows_the_modules_before_it() -> None:
    assert layers_of(build_head(8, 3, (6,), 0.3)) == (
        HeadLayer("hidden1.", 8, 6, relu=False, rate=0.0),
        HeadLayer("logits.", 6, 3, relu=True, rate=0.3),
    )
    assert layers_of(build_head(8, 3)) == (HeadLayer("", 8, 3, relu=False, rate=0.0),)


def fresh(head: nn.Module, seed: int) -> nn.Module:
    """Weights of usual size, also in the last layer."""
    torch.manual_seed(seed)
    for part in head.modules():
        if isinstance(part, nn.Linear):
            part.reset_parameters()
    return head


def three_layers() -> nn.Module:
    """With dropout before each of them, and one ReLU that stands in the chain twice."""
    relu = nn.ReLU()
    parts = (nn.Dropout(0.2), nn.Linear(8, 6), relu, nn.Linear(6, 5), relu, nn.Dropout(0.4), nn.Linear(5, 3))
    return nn.Sequential(OrderedDict((f"part{number}", part) for number, part in enumerate(parts)))


MAKERS = {
    "linear": lambda: build_head(8, 3),
    "dropped features": lambda: build_head(8, 3, (), 0.3),
    "two hidden": lambda: build_head(8, 3, (6, 5)),
    "two hidden, dropout": lambda: build_head(8, 3, (6, 5), 0.3),
    "three layers": three_layers,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("step", [0, 11])
def test_logits_and_gradients_are_those_of_autograd(make: object, step: int) -> None:
    """Training mode, the dropout of that step included."""
    assert callable(make)
    heads = [fresh(make(), seed) for seed in range(3)]
    network, cpu = StackedNetwork(heads, torch.device("cpu")), torch.Generator().manual_seed(0)
    inputs, slope = torch.randn(7, 8, generator=cpu), torch.randn(7, 3, 3, generator=cpu)
    masks = network.masks(7, 5, step)
    logits = network.forward(inputs, masks)
    network.gradients.flat.fill_(torch.nan)  # of a batch before, in which something went wrong
    network.backward(slope, masks, fresh=3)
    for index, head in enumerate(heads):
        step_generator(5, 0, step)
        expected = head.train()(inputs)
        assert torch.allclose(logits[:, index], expected, atol=1e-6)
        expected.backward(slope[:, index])
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None
            assert torch.allclose(network.gradients.blocks[name][index], parameter.grad, atol=1e-5), name


@pytest.mark.parametrize("make", [MAKERS["linear"], MAKERS["two hidden"]], ids=["linear", "two hidden"])
def test_gradients_add_up_over_the_pieces_of_a_batch(make: object) -> None:
    """Two of three heads begin a batch with the second piece."""
    assert callable(make)
    heads = [fresh(make(), seed) for seed in range(3)]
    network, cpu = StackedNetwork(heads, torch.device("cpu")), torch.Generator().manual_seed(0)
    inputs, slope = torch.randn(2, 7, 8, generator=cpu), torch.randn(2, 7, 3, 3, generator=cpu)
    for piece, begin in enumerate((3, 2)):
        masks = network.masks(7, 5, piece)
        network.forward(inputs[piece], masks)
        network.backward(slope[piece], masks, fresh=begin)
    for index, head in enumerate(heads):
        for piece in (1,) if index < 2 else (0, 1):
            head(inputs[piece]).backward(slope[piece, :, index])
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None
            assert torch.allclose(network.gradients.blocks[name][index], parameter.grad, atol=1e-5), name


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_without_masks_nothing_is_dropped(make: object) -> None:
    assert callable(make)
    heads = [fresh(make(), seed).eval() for seed in range(3)]
    network, inputs = StackedNetwork(heads, torch.device("cpu")), torch.randn(7, 8)
    logits = network.forward(inputs)
    for index, head in enumerate(heads):
        assert torch.allclose(logits[:, index], head(inputs), atol=1e-6)


def test_a_head_keeps_its_weights_when_others_leave() -> None:
    heads = [fresh(build_head(8, 3, (6,), rate), seed) for seed, rate in enumerate((0.1, 0.5, 0.8))]
    network, inputs = StackedNetwork(heads, torch.device("cpu")), torch.randn(5, 8)
    network.only([1])
    state = network.state(0)
    assert all(torch.equal(state[name], tensor) for name, tensor in heads[1].state_dict().items())
    logits = network.forward(inputs, network.masks(5, 0, 3))
    step_generator(0, 0, 3)
    assert torch.allclose(logits[:, 0], heads[1].train()(inputs), atol=1e-6)
