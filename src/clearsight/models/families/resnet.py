"""Residual networks of torchvision and timm: ResNet, ResNeXt, wide and SE variants that share the layout."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection, ExactFamily


def dissect(model: nn.Module) -> Dissection:
    """Return stages stem, layer1, layer2, layer3, layer4; the pooling is part of layer4."""
    part = model.get_submodule
    if hasattr(model, "global_pool"):  # timm, whose pooling flattens
        activation, pool = part("act1"), [part("global_pool")]
    else:
        activation, pool = part("relu"), [part("avgpool"), nn.Flatten()]
    parts: dict[str, nn.Module] = {"stem": nn.Sequential(part("conv1"), part("bn1"), activation, part("maxpool"))}
    parts |= {name: part(name) for name in ("layer1", "layer2", "layer3")}
    parts["layer4"] = nn.Sequential(part("layer4"), *pool)
    return Dissection.of(parts, "fc")


# timm has relatives that subclass ResNet and change its forward.
FAMILY = ExactFamily(("torchvision.models.resnet.ResNet", "timm.models.resnet.ResNet"), dissect)
