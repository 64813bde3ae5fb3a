"""ConvNeXt of timm and torchvision."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection, without
from clearsight.models.network import Stage


class ConvNeXtFamily:
    """Stages stem, stages.0 to stages.3 (each with the reduction before it); pooling and last norm with stages.3."""

    def recognises(self, model: nn.Module) -> bool:
        return f"{type(model).__module__}.{type(model).__name__}" in (
            "timm.models.convnext.ConvNeXt",
            "torchvision.models.convnext.ConvNeXt",
        )

    def dissect(self, model: nn.Module) -> Dissection:
        part = model.get_submodule
        if hasattr(model, "stages"):  # timm; torchvision has pairs of reduction and blocks in `features`
            stem, blocks = part("stem"), list(part("stages").children())
            tail, head = [part("norm_pre"), without(part("head"), "fc")], "head.fc"
        else:
            stem, first, *rest = part("features").children()
            blocks = [first, *(nn.Sequential(*pair) for pair in zip(rest[::2], rest[1::2], strict=True))]
            tail, head = [part("avgpool"), part("classifier.0"), part("classifier.1")], "classifier.2"
        blocks[-1] = nn.Sequential(blocks[-1], *tail)
        stages = (Stage("stem", stem), *(Stage(f"stages.{i}", block) for i, block in enumerate(blocks)))
        return Dissection(stages, head)


FAMILY = ConvNeXtFamily()
