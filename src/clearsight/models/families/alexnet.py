"""AlexNet and VGG: convolutions, then two wide linear layers before the classifier."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from clearsight.models.dissection import Dissection, ExactFamily


def dissect(model: nn.Module) -> Dissection:
    """Return stages conv1, conv2, ... (AlexNet: one convolution each; VGG: all up to a pooling), then fc1 and fc2."""
    layers = list(model.get_submodule("features").children())
    if "vgg" in type(model).__module__:
        edges = [0, *(i + 1 for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d))]
    else:
        edges = [*(i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)), len(layers)]
    groups = [layers[start:end] for start, end in pairwise(edges)]
    groups[-1] += [model.get_submodule("avgpool"), nn.Flatten()]
    names = [f"conv{i}" for i in range(1, len(groups) + 1)] + ["fc1", "fc2"]
    *wide, (head, _) = model.get_submodule("classifier").named_children()
    dense = [layer for _, layer in wide]
    # AlexNet has dropout before each linear layer, VGG after each activation: a dropout directly before the second
    # linear layer belongs to that layer's group.
    second = [i for i, layer in enumerate(dense) if isinstance(layer, nn.Linear)][1]
    start = second - 1 if isinstance(dense[second - 1], nn.Dropout) else second
    groups += [dense[:start], dense[start:]]
    parts = {name: nn.Sequential(*group) for name, group in zip(names, groups, strict=True)}
    return Dissection.of(parts, f"classifier.{head}")


FAMILY = ExactFamily(("torchvision.models.alexnet.AlexNet", "torchvision.models.vgg.VGG"), dissect)
