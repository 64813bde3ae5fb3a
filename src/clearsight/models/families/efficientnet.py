"""timm's mobile networks built from one block list: EfficientNet, MobileNet v1, v2 and v3, MNASNet, FBNet and kin."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection
from clearsight.models.network import Stage

# What stands between the last block and the classifier, in order of use; each type has its own.
_TAILS = {
    "timm.models.efficientnet.EfficientNet": ("conv_head", "bn2", "global_pool"),
    "timm.models.mobilenetv3.MobileNetV3": ("global_pool", "conv_head", "norm_head", "act2", "flatten"),
}


class EfficientNetFamily:
    """Stages stem, blocks.0, blocks.1, ..., tail (last convolution and pooling)."""

    def recognises(self, model: nn.Module) -> bool:
        tail = _TAILS.get(f"{type(model).__module__}.{type(model).__name__}")
        return tail is not None and all(hasattr(model, name) for name in tail)

    def dissect(self, model: nn.Module) -> Dissection:
        part = model.get_submodule
        blocks = {f"blocks.{name}": block for name, block in part("blocks").named_children()}
        tail = nn.Sequential(*(part(name) for name in _TAILS[f"{type(model).__module__}.{type(model).__name__}"]))
        if any(True for _ in tail.parameters()):
            blocks["tail"] = tail
        else:  # MobileNet v1 has no convolution after its blocks
            *_, last = blocks
            blocks[last] = nn.Sequential(blocks[last], tail)
        stem = nn.Sequential(part("conv_stem"), part("bn1"))
        stages = (Stage("stem", stem), *(Stage(name, block) for name, block in blocks.items()))
        return Dissection(stages, "classifier")


FAMILY = EfficientNetFamily()
