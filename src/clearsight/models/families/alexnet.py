"""AlexNet and VGG: convolutions, then two wide linear layers before the classifier."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection
from clearsight.models.network import Stage


class AlexNetFamily:
    """Stages conv1, conv2, ... (AlexNet: one convolution each; VGG: all up to a pooling), then fc1 and fc2."""

    def recognises(self, model: nn.Module) -> bool:
        return f"{type(model).__module__}.{type(model).__name__}" in (
            "torchvision.models.alexnet.AlexNet",
            "torchvision.models.vgg.VGG",
        )

    def dissect(self, model: nn.Module) -> Dissection:
        layers = list(model.get_submodule("features").children())
        groups = _by_pooling(layers) if "vgg" in type(model).__module__ else _by_convolution(layers)
        groups[-1] += [model.get_submodule("avgpool"), nn.Flatten()]
        *wide, head = model.get_submodule("classifier").named_children()
        names = [f"conv{i}" for i in range(1, len(groups) + 1)] + ["fc1", "fc2"]
        groups += _by_linear([layer for _, layer in wide])
        stages = tuple(Stage(name, nn.Sequential(*group)) for name, group in zip(names, groups, strict=True))
        return Dissection(stages, f"classifier.{head[0]}")


def _by_convolution(layers: list[nn.Module]) -> list[list[nn.Module]]:
    groups: list[list[nn.Module]] = []
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            groups.append([])
        groups[-1].append(layer)
    return groups


def _by_pooling(layers: list[nn.Module]) -> list[list[nn.Module]]:
    groups: list[list[nn.Module]] = [[]]
    for layer in layers:
        groups[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            groups.append([])
    return groups[:-1]


def _by_linear(layers: list[nn.Module]) -> list[list[nn.Module]]:
    # AlexNet has dropout before each linear layer, VGG after each activation: a dropout directly before the second
    # linear layer belongs to that layer's group.
    second = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)][1]
    start = second - 1 if isinstance(layers[second - 1], nn.Dropout) else second
    return [layers[:start], layers[start:]]


FAMILY = AlexNetFamily()
