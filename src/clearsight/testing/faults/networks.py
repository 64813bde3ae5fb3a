"""Networks of the planted faults, and the faults of networks. All map (N, 3, side, side) to (N, classes)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from clearsight.core.errors import BadChoice
from clearsight.testing.faults.setup import FaultSetup

PRETRAINED = frozenset({"mobilenetv2"})
_MOBILENET = "mobilenetv2_100_imagenet.safetensors"
_HUGE = 30.0  # times the initial weights
_DEAD = -10.0  # bias: far below any input of the ReLU
_WIDTH = 64  # of the sigmoid networks


def network(setup: FaultSetup, classes: int, shared: Path) -> nn.Module:
    """Return a network with initial weights, faults included.

    The weights of mobilenetv2 are those of ImageNet, unless the recipe says `weights: none`. Raises BadChoice for an
    unknown name.
    """
    if setup.network not in _NETWORKS:
        raise BadChoice(f"network {setup.network}", "there is no such network", got=setup.network, allowed=_NETWORKS)
    model = _NETWORKS[setup.network](setup, classes, shared)
    plant = _PLANTS.get(setup.plant)
    return plant(model) if plant else model


def head(model: nn.Module) -> nn.Linear:
    """Return the last linear layer."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


# Networks: (setup, classes, shared) -> network


def _small_cnn(setup: FaultSetup, classes: int, shared: Path) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def _plain_cnn(setup: FaultSetup, classes: int, shared: Path) -> nn.Module:
    """Return a network without normalisation, as in LeCun et al. 1998, with ReLU."""
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(64 * (setup.side // 8) ** 2, 64), nn.ReLU(), nn.Linear(64, classes)
    )


def _sigmoid_cnn(setup: FaultSetup, classes: int, shared: Path) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 32), (32, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.Sigmoid()]
        if after != before:
            layers.append(nn.AvgPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def _sigmoid_mlp(setup: FaultSetup, classes: int, shared: Path) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(3 * setup.side**2, _WIDTH), nn.Sigmoid()]
    for _ in range(6):
        layers += [nn.Linear(_WIDTH, _WIDTH), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(_WIDTH, classes))


def _mobilenet(setup: FaultSetup, classes: int, shared: Path) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=classes)
    model.classifier = nn.Linear(1280, classes)  # timm's initialisation of a head with few classes is far too confident
    if setup.recipe.model.weights != "none":
        weights = load_file(shared / "weights" / _MOBILENET)
        model.load_state_dict({k: v for k, v in weights.items() if not k.startswith("classifier.")}, strict=False)
    return model


def _resnet(setup: FaultSetup, classes: int, shared: Path) -> nn.Module:
    import torchvision

    model: nn.Module = torchvision.models.resnet18(num_classes=classes)
    return model


def _vit(setup: FaultSetup, classes: int, shared: Path) -> nn.Module:
    import timm

    sizes = {"img_size": setup.side, "patch_size": 8, "depth": 4}
    model: nn.Module = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=classes, **sizes)
    return model


_NETWORKS: dict[str, Callable[[FaultSetup, int, Path], nn.Module]] = {
    "small_cnn": _small_cnn,
    "plain_cnn": _plain_cnn,
    "sigmoid_cnn": _sigmoid_cnn,
    "sigmoid_mlp": _sigmoid_mlp,
    "mobilenetv2": _mobilenet,
    "resnet18": _resnet,
    "vit_tiny": _vit,
}


# Faults of networks: network -> network


def _zero(model: nn.Module) -> nn.Module:
    for weight in _weights(model):
        nn.init.zeros_(weight)
    return model


def _huge(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in _weights(model):
            parameter.mul_(_HUGE)
    return model


def _dead(model: nn.Module) -> nn.Module:
    """Set the biases in front of each ReLU so low that every output is 0."""
    layers = [
        m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.Conv2d, nn.Linear)) and m is not head(model)
    ]
    if any(isinstance(layer, nn.BatchNorm2d) for layer in layers):
        layers = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        assert layer.bias is not None
        nn.init.constant_(layer.bias, _DEAD)
    return model


def _frozen_head(model: nn.Module) -> nn.Module:
    """Freeze everything and unfreeze the wrong part: the norms, and not the new head."""
    model.requires_grad_(False)
    for module in list(model.modules()):
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            module.requires_grad_(True)
    return model


def _softmax(model: nn.Module) -> nn.Module:
    return nn.Sequential(model, nn.Softmax(dim=1))


def _weights(model: nn.Module) -> list[Tensor]:
    return [module.weight for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


_PLANTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "zero_init": _zero,
    "huge_init": _huge,
    "dead_relu_bias": _dead,
    "head_frozen": _frozen_head,
    "loss_on_softmax": _softmax,
}
