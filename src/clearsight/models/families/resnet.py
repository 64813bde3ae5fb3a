"""Residual networks of torchvision and timm: ResNet, ResNeXt, wide and SE variants that share the layout."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection
from clearsight.models.network import Stage


class ResNetFamily:
    """Stages stem, layer1, layer2, layer3, layer4; the pooling is part of layer4."""

    def recognises(self, model: nn.Module) -> bool:
        # By exact type: timm has relatives that subclass ResNet and change its forward.
        return f"{type(model).__module__}.{type(model).__name__}" in (
            "torchvision.models.resnet.ResNet",
            "timm.models.resnet.ResNet",
        )

    def dissect(self, model: nn.Module) -> Dissection:
        part = model.get_submodule
        if hasattr(model, "global_pool"):  # timm, whose pooling flattens
            activation, pool = part("act1"), [part("global_pool")]
        else:
            activation, pool = part("relu"), [part("avgpool"), nn.Flatten()]
        stem = nn.Sequential(part("conv1"), part("bn1"), activation, part("maxpool"))
        stages = (
            Stage("stem", stem),
            Stage("layer1", part("layer1")),
            Stage("layer2", part("layer2")),
            Stage("layer3", part("layer3")),
            Stage("layer4", nn.Sequential(part("layer4"), *pool)),
        )
        return Dissection(stages, "fc")


FAMILY = ResNetFamily()
