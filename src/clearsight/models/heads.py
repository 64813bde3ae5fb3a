"""Heads: layers from features to logits, initialised so that the first predictions prefer no class."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

_SHARE = 1e-3  # standard deviation of the first logits for features of unit size


def build_head(
    features: int, classes: int, hidden: Sequence[int] = (), dropout: float = 0.0, seed: int = 0
) -> nn.Module:
    """Return a head (N, features) -> (N, classes): a linear layer, or a perceptron with ReLU and dropout after each
    hidden layer.

    With `dropout` and no hidden layer the dropout applies to the features. A single layer is a plain nn.Linear, so that
    its parameters have the names that they have in the zoo.

    The last layer starts at N(0, 0.001 / sqrt(inputs)) and zero bias: the first loss is log(classes) whatever family
    the features come from, even for the features in the hundreds of a random residual network in eval mode. Yet
    gradients reach the backbone in the first step, which they do not with zeros (Kolesnikov et al. 2020, "Big
    Transfer", section 3.3). Hidden layers follow He et al. 2015, "Delving Deep into Rectifiers", eq. 10. All values
    depend on `seed` alone; the global random state is neither used nor changed.
    """
    random = torch.Generator().manual_seed(seed)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = features
    for number, size in enumerate(hidden, start=1):
        layers[f"hidden{number}"] = _linear(width, size, (2.0 / width) ** 0.5, random)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        if dropout:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
        width = size
    if dropout and not hidden:
        layers["dropout"] = nn.Dropout(dropout)
    logits = _linear(width, classes, _SHARE / width**0.5, random)
    if not layers:
        return logits
    layers["logits"] = logits
    return nn.Sequential(layers)


def _linear(inputs: int, outputs: int, std: float, random: torch.Generator) -> nn.Linear:
    # The usual constructor would draw from the global random state.
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.normal_(0.0, std, generator=random)
        layer.bias.zero_()
    return layer
