"""Layers: what a model is made of, in plain facts."""

from __future__ import annotations

import timm
import torch
from torch import nn

from clearsight.debugger.capture.model_inspection import (
    InspectedModel,
    kind,
    layer_facts,
    leaves,
    parameter_facts,
    unwrapped,
)


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def test_kinds_go_by_what_a_layer_does() -> None:
    assert [fact.kind for fact in layer_facts(net())] == ["conv", "norm", "relu", "pool", "other", "linear"]
    told = {nn.ReLU6(): "relu", nn.GELU(): "activation", nn.Hardtanh(): "tanh", nn.Sigmoid(): "sigmoid"}
    assert all(kind(module) == word for module, word in told.items())
    assert kind(nn.MultiheadAttention(4, 2)) == "attention"


def test_a_norm_that_holds_its_activation_is_two_layers() -> None:
    model = timm.create_model("mobilenetv2_100", num_classes=2)
    facts = {fact.name: fact for fact in layer_facts(model)}
    assert (facts["bn1"].kind, facts["bn1"].type) == ("norm", "BatchNormAct2d")
    assert facts["bn1.act"].kind == "relu"
    assert "bn1.drop" not in facts  # an identity


def test_parameters_say_what_they_are_and_who_trains_them() -> None:
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([*model[1].parameters(), model[5].weight], 0.1)
    facts = {fact.name: fact for fact in parameter_facts(model, optimizer)}
    assert [fact.kind for fact in facts.values()] == ["weight", "bias", "norm", "norm", "weight", "bias"]
    assert not facts["0.weight"].trainable
    assert facts["1.weight"].optimized
    assert (facts["5.bias"].trainable, facts["5.bias"].optimized) == (True, False)
    assert [name for name, fact in facts.items() if fact.head] == ["5.weight", "5.bias"]
    assert facts["0.weight"].shape == (4, 3, 3, 3)


def test_a_frozen_layer_is_in_evaluation_mode_and_has_nothing_to_train() -> None:
    model = net()
    model[1].eval()
    assert not layer_facts(model)[1].frozen  # its weight still takes gradients
    model[1].requires_grad_(False)
    assert [fact.name for fact in layer_facts(model) if fact.frozen] == ["1"]


def test_what_is_shared_is_told_once() -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert [name for name, _ in leaves(model)] == ["0", "1"]
    assert [fact.name for fact in parameter_facts(model, None)] == ["0.weight", "0.bias"]


def test_wrappers_are_looked_through() -> None:
    model = net()
    compiled = torch.compile(model, backend="eager")
    assert unwrapped(nn.DataParallel(model)) == (model, model, False)
    assert unwrapped(compiled) == (model, compiled, True)
    watched = InspectedModel.of(compiled)
    assert (watched.compiled, watched.layers, watched.entry) == (True, (), compiled)


def test_what_is_compiled_inside_is_not_heard() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    model[1].compile(backend="eager")
    assert [name for name, _ in InspectedModel.of(model).layers] == ["0"]
    assert InspectedModel.of(model).compiled
    model.compile(backend="eager")
    assert InspectedModel.of(model).entry is None
