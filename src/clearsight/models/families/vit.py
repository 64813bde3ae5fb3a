"""timm's plain vision transformers (ViT, DeiT without distillation)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from clearsight.models.dissection import Dissection, ExactFamily, without


class Embedding(nn.Module):
    """Patches, class token and position of a VisionTransformer, as in its forward: (N, 3, S, S) -> (N, T, D)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # Any: the attributes that forward uses belong to timm's class, which is not imported here.
        self.model: Any = without(model, "blocks", "norm", "fc_norm", "head_drop", "head", "attn_pool")

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.model._pos_embed(self.model.patch_embed(images))
        return cast(Tensor, self.model.norm_pre(self.model.patch_drop(tokens)))


class Pooling(nn.Module):
    """Last norm and pooling of a VisionTransformer, as in its forward: (N, T, D) -> (N, D)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        tokens = [name for name in ("cls_token", "reg_token", "pos_embed") if name in model._parameters]
        others = ("patch_embed", "pos_drop", "patch_drop", "norm_pre", "blocks", "head")
        self.model: Any = without(model, *others, *tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.model.forward_head(self.model.norm(tokens), pre_logits=True))


def fix_image_size(module: nn.Module, size: int) -> None:
    """Fix the position tables of the transformers in `module` to images of `size` x `size`, in place.

    The result for that size does not change. Without it the tables are resampled in every forward, by a filter that
    ONNX does not have.
    """
    for part in module.modules():
        patches = getattr(part, "patch_embed", None)
        if getattr(part, "dynamic_img_size", False) and hasattr(patches, "set_input_size"):
            with torch.no_grad():
                cast(Any, part).set_input_size(img_size=(size, size))


def dissect(model: nn.Module) -> Dissection:
    """Return stages stem (patches and positions), blocks.0, blocks.1, ..., the last with the final norm and pooling."""
    parts: dict[str, nn.Module] = {"stem": Embedding(model)}
    parts |= {f"blocks.{name}": block for name, block in model.get_submodule("blocks").named_children()}
    *_, last = parts
    parts[last] = nn.Sequential(parts[last], Pooling(model))
    return Dissection.of(parts, "head")


FAMILY = ExactFamily(
    ("timm.models.vision_transformer.VisionTransformer",),
    dissect,
    accepts=lambda model: getattr(model, "attn_pool", None) is None,  # that pooling has weights after the last block
)
