"""Networks of the loops, and the faults of networks. All map images (N, 3, side, side) to (N, outputs)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from clearsight.testing.faults.loops.kind import Requirement
from clearsight.testing.faults.loops.setup import LoopSettings

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_HUGE, _CONSTANT, _DEAD, _DROPOUT = 30.0, 0.01, -10.0, 0.95
_SLOW = 0.001  # momentum of BatchNorm

# Properties that decide which faults matter. Without "random" a network starts from pretrained weights.
TRAITS: dict[str, frozenset[Requirement]] = {
    "mobilenetv2": frozenset({"batch_norm", "modes", "relu"}),
    "resnet8": frozenset({"batch_norm", "modes", "relu", "own_layers", "random"}),
    "small_cnn": frozenset({"batch_norm", "modes", "relu", "own_layers", "random"}),
    "mlp": frozenset({"modes", "relu", "own_layers", "random"}),
    "mobilenetv1": frozenset({"batch_norm", "modes", "relu"}),
    "vgg": frozenset({"modes", "relu", "own_layers", "random"}),
    "regnet": frozenset({"batch_norm", "modes", "relu", "random"}),
    "vit": frozenset({"random"}),
    "convnext": frozenset({"random"}),
}


def network(name: str, outputs: int, side: int, fault: str, settings: LoopSettings, shared: Path) -> nn.Module:
    """Return a network with its initial weights, faults of networks included."""
    model = _NETWORKS[name](outputs, side)
    if settings.pretrained:
        weights = load_file(shared / "weights" / _WEIGHTS[name])
        model.load_state_dict({k: v for k, v in weights.items() if not k.startswith("classifier.")}, strict=False)
    if settings.freeze:
        model.requires_grad_(False)
        last_linear(model)[2].requires_grad_(True)
    return planted(model, fault)


def planted(model: nn.Module, fault: str) -> nn.Module:
    """Return the network with a fault of networks; one without it where the fault is another one."""
    plant = _PLANTS.get(fault)
    return plant(model) if plant else model


def last_linear(model: nn.Module) -> tuple[nn.Module, str, nn.Linear]:
    """Return the last linear layer, after the module that holds it and its name there."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
    order = {id(module): place for place, module in enumerate(model.modules())}
    return max(found, key=lambda place: order[id(place[2])])


def replace_last(model: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Put `make(layer)` in the place of the last linear layer."""
    parent, name, layer = last_linear(model)
    setattr(parent, name, make(layer))


def renew_last(model: nn.Module) -> None:
    """Put a new linear layer of the same size in the place of the last one."""
    replace_last(model, lambda layer: nn.Linear(layer.in_features, layer.out_features))


# Networks: (outputs, side) -> network


def _small_cnn(outputs: int, side: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 24), (24, 48), (48, 96)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(96, outputs))


class _Block(nn.Module):
    """Residual block of He et al. 2016, section 4.2, with a projection where the size changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.relu2 = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(images)))))
        result: Tensor = self.relu2(branch + self.shortcut(images))
        return result


def _resnet8(outputs: int, side: int) -> nn.Module:
    """Return the ResNet for small images of He et al. 2016, section 4.2, with n=1."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(_Block(16, 16, 1), _Block(16, 32, 2), _Block(32, 64, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, outputs)),
    )


def _mlp(outputs: int, side: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(3 * side**2, 128), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, outputs)),
    )


def _vgg(outputs: int, side: int) -> nn.Module:
    """Return a network without normalisation, after Simonyan and Zisserman 2015, with He's initialisation."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 96)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    features = 96 * (side // 8) ** 2
    model = nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(features, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, outputs)
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


def _timm(name: str, outputs: int, **sizes: Any) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=outputs, **sizes)
    return model


def _mobilenetv2(outputs: int, side: int) -> nn.Module:
    model = _timm("mobilenetv2_100", outputs)
    renew_last(model)  # timm's initialisation of a head with few classes is far too confident
    return model


def _mobilenetv1(outputs: int, side: int) -> nn.Module:
    from timm.models.efficientnet import _gen_mobilenet_v1

    model: nn.Module = _gen_mobilenet_v1("mobilenetv1_100", 0.25, num_classes=outputs)
    renew_last(model)
    return model


_NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "mobilenetv2": _mobilenetv2,
    "resnet8": _resnet8,
    "small_cnn": _small_cnn,
    "mlp": _mlp,
    "mobilenetv1": _mobilenetv1,
    "vgg": _vgg,
    "regnet": lambda outputs, side: _timm("regnetx_002", outputs),
    "vit": lambda outputs, side: _timm(
        "vit_tiny_patch16_224", outputs, img_size=side, patch_size=4, depth=3, embed_dim=96, num_heads=3
    ),
    "convnext": lambda outputs, side: _timm("convnext_atto", outputs),
}
_WEIGHTS = {
    "mobilenetv2": "mobilenetv2_100_imagenet.safetensors",
    "mobilenetv1": "mobilenetv1_025_128_imagenet.safetensors",
}


# Faults of networks: network -> network


def _weights(model: nn.Module) -> list[Tensor]:
    return [module.weight for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def _filled(value: float) -> Callable[[nn.Module], nn.Module]:
    def plant(model: nn.Module) -> nn.Module:
        for weight in _weights(model):
            nn.init.constant_(weight, value)
        return model

    return plant


def _huge(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for weight in _weights(model):
            weight.mul_(_HUGE)
    return model


def _dead(model: nn.Module) -> nn.Module:
    """Set the biases in front of the ReLUs so low that every output is 0."""
    last = last_linear(model)[2]
    norms = [module for module in model.modules() if isinstance(module, _NORMS)]
    hidden = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and m is not last]
    for layer in norms or hidden:
        if layer.bias is not None:
            nn.init.constant_(layer.bias, _DEAD)
    return model


def _frozen(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


def _frozen_head(model: nn.Module) -> nn.Module:
    model.requires_grad_(False)
    for module in list(model.modules()):
        if isinstance(module, _NORMS):
            module.requires_grad_(True)
    return model


class _Detach(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.detach()


def _detached(model: nn.Module) -> nn.Module:
    replace_last(model, lambda layer: nn.Sequential(_Detach(), layer))
    return model


def _dropout(model: nn.Module) -> nn.Module:
    replace_last(model, lambda layer: nn.Sequential(nn.Dropout(_DROPOUT), layer))
    return model


def _activations(kind: type[nn.Module]) -> Callable[[nn.Module], nn.Module]:
    """Return a plant that puts `kind` in the place of every ReLU and leaves normalisation out."""

    def plant(model: nn.Module) -> nn.Module:
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.ReLU):
                    setattr(parent, name, kind())
                elif isinstance(child, _NORMS):
                    setattr(parent, name, nn.Identity())
        return model

    return plant


def _saturated(model: nn.Module) -> nn.Module:
    model = _activations(nn.Tanh)(model)
    for weight in _weights(model):
        nn.init.normal_(weight)
    return model


def _slow_norms(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, _NORMS):
            module.momentum = _SLOW
    return model


def _relu_behind(model: nn.Module) -> nn.Module:
    return nn.Sequential(model, nn.ReLU())


_PLANTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "zero_init": _filled(0.0),
    "constant_init": _filled(_CONSTANT),
    "huge_init": _huge,
    "dead_relu": _dead,
    "everything_frozen": _frozen,
    "head_frozen": _frozen_head,
    "features_detached": _detached,
    "dropout_095": _dropout,
    "sigmoid_deep": _activations(nn.Sigmoid),
    "tanh_saturated": _saturated,
    "batch_norm_slow": _slow_norms,
    "relu_on_logits": _relu_behind,
}
