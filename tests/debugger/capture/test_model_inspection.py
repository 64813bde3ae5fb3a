"""InspectedModel: layers and parameters of a model."""

from __future__ import annotations

import timm
import torch
from torch import nn

from clearsight.core.context import RunContext
from clearsight.debugger.capture.model_inspection import (
    InspectedModel,
    describe_model,
    kind,
    layer_infos,
    leaves,
    parameter_infos,
    unwrapped,
)


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def test_kinds_go_by_what_a_layer_does() -> None:
    assert [info.kind for info in layer_infos(net())] == ["conv", "norm", "relu", "pool", "other", "linear"]
    kinds = {nn.ReLU6(): "relu", nn.GELU(): "activation", nn.Hardtanh(): "tanh", nn.Sigmoid(): "sigmoid"}
    assert all(kind(module) == word for module, word in kinds.items())
    assert kind(nn.MultiheadAttention(4, 2)) == "attention"


def test_a_norm_that_holds_its_activation_is_two_layers() -> None:
    model = timm.create_model("mobilenetv2_100", num_classes=2)
    infos = {info.name: info for info in layer_infos(model)}
    assert (infos["bn1"].kind, infos["bn1"].type) == ("norm", "BatchNormAct2d")
    assert infos["bn1.act"].kind == "relu"
    assert "bn1.drop" not in infos  # an identity


def test_parameters_have_a_kind_and_a_trainer() -> None:
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([*model[1].parameters(), model[5].weight], 0.1)
    infos = {info.name: info for info in parameter_infos(model, optimizer)}
    assert [info.kind for info in infos.values()] == ["weight", "bias", "norm", "norm", "weight", "bias"]
    assert not infos["0.weight"].trainable
    assert infos["1.weight"].optimized
    assert (infos["5.bias"].trainable, infos["5.bias"].optimized) == (True, False)
    assert [name for name, info in infos.items() if info.head] == ["5.weight", "5.bias"]
    assert infos["0.weight"].shape == (4, 3, 3, 3)


def test_a_frozen_layer_is_in_evaluation_mode_and_has_nothing_to_train() -> None:
    model = net()
    model[1].eval()
    assert not layer_infos(model)[1].frozen  # its weight still takes gradients
    model[1].requires_grad_(False)
    assert [info.name for info in layer_infos(model) if info.frozen] == ["1"]


def test_what_is_shared_is_listed_once() -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert [name for name, _ in leaves(model)] == ["0", "1"]
    assert [info.name for info in parameter_infos(model, None)] == ["0.weight", "0.bias"]


def test_wrappers_are_taken_off() -> None:
    model = net()
    compiled = torch.compile(model, backend="eager")
    assert unwrapped(nn.DataParallel(model)) == (model, model, False)
    assert unwrapped(compiled) == (model, compiled, True)
    inspected = InspectedModel.of(compiled)
    assert (inspected.compiled, inspected.layers, inspected.entry) == (True, (), compiled)


def test_compiled_parts_are_not_hooked() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    model[1].compile(backend="eager")
    assert [name for name, _ in InspectedModel.of(model).layers] == ["0"]
    assert InspectedModel.of(model).compiled
    model.compile(backend="eager")
    assert InspectedModel.of(model).entry is None


def test_the_configuration_of_a_library_is_no_metadata_of_the_weights() -> None:
    model = net()
    model.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    context = describe_model(RunContext(), InspectedModel.of(model))
    assert (context.weights_mean, context.weights_std) == ((), ())
    assert (context.usual_mean, context.usual_std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    scratch = describe_model(RunContext(pretrained=False), InspectedModel.of(model))
    assert scratch.usual_mean == ()
