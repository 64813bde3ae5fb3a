"""Networks of the unseen part, and its own faults of networks. All map images (N, 3, side, side) to (N, outputs)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from clearsight.testing.faults.loops.kind import Requirement
from clearsight.testing.faults.loops.networks import last_linear, planted, renew_last, replace_last
from clearsight.testing.faults.loops.setup import LoopSettings

_WEIGHTS = "mobilenetv2_100_imagenet.safetensors"
_DROPOUT = 0.5
_GROUPS = 8
_LISTED = 12  # layers of the strided network that stand in a Python list: its convolutions

UNSEEN_TRAITS: dict[str, frozenset[Requirement]] = {
    "strided_cnn": frozenset({"batch_norm", "modes", "relu", "own_layers", "random"}),
    "group_resnet": frozenset({"random"}),
    "densenet": frozenset({"batch_norm", "modes", "relu", "random"}),
    "shufflenet": frozenset({"batch_norm", "modes", "relu", "random"}),
    "mixer": frozenset({"random"}),
    "mobilenetv2_mlp": frozenset({"batch_norm", "modes", "relu", "pretrained"}),
}


def network(name: str, outputs: int, side: int, fault: str, settings: LoopSettings, shared: Path) -> nn.Module:
    """Return a network with its initial weights, faults of networks included."""
    model = _NETWORKS[name](outputs, side)
    if settings.pretrained:
        weights = load_file(shared / "weights" / _WEIGHTS)
        prefix = "module." if fault == "checkpoint_prefix" else ""  # as a checkpoint of DataParallel has it
        weights = {prefix + key: value for key, value in weights.items() if not key.startswith("classifier.")}
        model.load_state_dict(weights, strict=False)
    if settings.freeze:
        model.requires_grad_(False)
        head = getattr(model, "classifier", last_linear(model)[2])
        head.requires_grad_(True)
    plant = _PLANTS.get(fault)
    return plant(model) if plant else planted(model, fault)


# Networks: (outputs, side) -> network


def _strided_cnn(outputs: int, side: int) -> nn.Module:
    """Return a network that shrinks by strides instead of pooling, with two linear layers."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 32, 1), (32, 48, 2), (48, 64, 2), (64, 96, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    head = (nn.Linear(96, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, outputs))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


class GroupNormBlock(nn.Module):
    """Residual block with GroupNorm in front of its convolutions (He et al. 2016, Identity Mappings, figure 4e)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(_GROUPS, before), nn.GroupNorm(_GROUPS, after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv1(F.leaky_relu(self.norm1(x), 0.1))
        branch = self.conv2(F.leaky_relu(self.norm2(branch), 0.1))
        result: Tensor = branch + self.shortcut(x)
        return result


def _group_resnet(outputs: int, side: int) -> nn.Module:
    blocks = (GroupNormBlock(32, 32, 2), GroupNormBlock(32, 64, 2), GroupNormBlock(64, 96, 2))
    norm = (nn.GroupNorm(_GROUPS, 96), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *blocks, *norm, nn.Linear(96, outputs))


def _densenet(outputs: int, side: int) -> nn.Module:
    from timm.models.densenet import DenseNet

    model: nn.Module = DenseNet(growth_rate=12, block_config=(3, 4, 3), bn_size=2, stem_type="", num_classes=outputs)
    return model


def _shufflenet(outputs: int, side: int) -> nn.Module:
    from torchvision.models import shufflenet_v2_x0_5

    model: nn.Module = shufflenet_v2_x0_5(weights=None, num_classes=outputs)
    return model


def _mixer(outputs: int, side: int) -> nn.Module:
    from timm.models.mlp_mixer import MlpMixer

    model: nn.Module = MlpMixer(num_classes=outputs, img_size=side, patch_size=4, num_blocks=3, embed_dim=96)
    renew_last(model)  # timm starts this head at 0
    return model


def _mobilenetv2_mlp(outputs: int, side: int) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=outputs)
    model.classifier = nn.Sequential(nn.Linear(1280, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, outputs))
    return model


_NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "strided_cnn": _strided_cnn,
    "group_resnet": _group_resnet,
    "densenet": _densenet,
    "shufflenet": _shufflenet,
    "mixer": _mixer,
    "mobilenetv2_mlp": _mobilenetv2_mlp,
}


# Faults of networks: network -> network


class DropoutFunction(nn.Module):
    """Dropout by the function, which is active in every mode unless its `training` is passed."""

    def forward(self, features: Tensor) -> Tensor:
        return F.dropout(features, _DROPOUT)


def _functional_dropout(model: nn.Module) -> nn.Module:
    replace_last(model, lambda layer: nn.Sequential(DropoutFunction(), layer))
    return model


class NoGradFeatures(nn.Module):
    """Classifier that computes its features under no_grad."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(images)
        logits: Tensor = self.head(features)
        return logits


def _features_without_gradient(model: nn.Module) -> nn.Module:
    head = last_linear(model)[2]
    replace_last(model, lambda layer: nn.Identity())
    return NoGradFeatures(model, head)


class ListedLayers(nn.Module):
    """Classifier whose first layers stand in a Python list, which registers none of them."""

    def __init__(self, layers: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.layers, self.head = layers, head

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(x)
        return logits


def _layers_in_list(model: nn.Module) -> nn.Module:
    layers = list(model.children())
    return ListedLayers(layers[:_LISTED], nn.Sequential(*layers[_LISTED:]))


class LinearInForward(nn.Module):
    """Head that makes its linear layer in forward, with other random weights each time."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = nn.Linear(features.shape[1], self.outputs)(features)
        return logits


def _head_in_forward(model: nn.Module) -> nn.Module:
    replace_last(model, lambda layer: LinearInForward(layer.out_features))
    return model


def _initialised_again(model: nn.Module) -> nn.Module:
    """Apply the initialisation of DCGAN's weights_init after the pretrained weights were loaded."""

    def weights_init(module: nn.Module) -> None:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)

    return model.apply(weights_init)


_PLANTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "functional_dropout": _functional_dropout,
    "features_without_gradient": _features_without_gradient,
    "layers_in_list": _layers_in_list,
    "head_made_in_forward": _head_in_forward,
    "initialised_after_loading": _initialised_again,
}
