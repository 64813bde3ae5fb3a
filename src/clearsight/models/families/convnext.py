"""ConvNeXt of timm and torchvision."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection, ExactFamily, without


def dissect(model: nn.Module) -> Dissection:
    """Return stages stem, stages.0 to stages.3, each with the reduction before it; stages.3 pools and normalises."""
    part = model.get_submodule
    if hasattr(model, "stages"):  # timm; torchvision has pairs of reduction and blocks in `features`
        stem, blocks = part("stem"), list(part("stages").children())
        tail, head = [part("norm_pre"), without(part("head"), "fc")], "head.fc"
    else:
        stem, first, *rest = part("features").children()
        blocks = [first, *(nn.Sequential(*pair) for pair in zip(rest[::2], rest[1::2], strict=True))]
        tail, head = [part("avgpool"), part("classifier.0"), part("classifier.1")], "classifier.2"
    blocks[-1] = nn.Sequential(blocks[-1], *tail)
    return Dissection.of({"stem": stem, **{f"stages.{i}": block for i, block in enumerate(blocks)}}, head)


FAMILY = ExactFamily(("timm.models.convnext.ConvNeXt", "torchvision.models.convnext.ConvNeXt"), dissect)
