"""timm's mobile networks built from one block list: EfficientNet, MobileNet v1, v2 and v3, MNASNet, FBNet and kin."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection, ExactFamily, type_name

# What stands between the last block and the classifier, in order of use; each type has its own.
_TAILS = {
    "timm.models.efficientnet.EfficientNet": ("conv_head", "bn2", "global_pool"),
    "timm.models.mobilenetv3.MobileNetV3": ("global_pool", "conv_head", "norm_head", "act2", "flatten"),
}


def dissect(model: nn.Module) -> Dissection:
    """Return stages stem, blocks.0, blocks.1, ..., tail (last convolution and pooling)."""
    part = model.get_submodule
    parts: dict[str, nn.Module] = {"stem": nn.Sequential(part("conv_stem"), part("bn1"))}
    parts |= {f"blocks.{name}": block for name, block in part("blocks").named_children()}
    tail = nn.Sequential(*(part(name) for name in _TAILS[type_name(model)]))
    if any(True for _ in tail.parameters()):
        parts["tail"] = tail
    else:  # MobileNet v1 has no convolution after its blocks
        *_, last = parts
        parts[last] = nn.Sequential(parts[last], tail)
    return Dissection.of(parts, "classifier")


def _has_tail(model: nn.Module) -> bool:
    return all(hasattr(model, name) for name in _TAILS[type_name(model)])


FAMILY = ExactFamily(_TAILS, dissect, _has_tail)
