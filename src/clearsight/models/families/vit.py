"""timm's plain vision transformers (ViT, DeiT without distillation)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from clearsight.models.dissection import Dissection, without
from clearsight.models.network import Stage


class Embedding(nn.Module):
    """(N, 3, S, S) -> (N, T, D): patches, class token and position of a VisionTransformer, as its forward does it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = without(model, "blocks", "norm", "fc_norm", "head_drop", "head", "attn_pool")

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.model._pos_embed(self.model.patch_embed(images))
        embedded: Tensor = self.model.norm_pre(self.model.patch_drop(tokens))
        return embedded


class Pooling(nn.Module):
    """(N, T, D) -> (N, D): last norm and pooling of a VisionTransformer, as its forward does it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        tokens = [name for name in ("cls_token", "reg_token", "pos_embed") if name in model._parameters]
        view = without(model, "patch_embed", "pos_drop", "patch_drop", "norm_pre", "blocks", "head", *tokens)
        self.model: Any = view

    def forward(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.model.forward_head(self.model.norm(tokens), pre_logits=True)
        return features


def settle(module: nn.Module, size: int) -> None:
    """Fit the position tables of the transformers in `module` to images of `size` x `size`, in place.

    The function for that size stays the same. Otherwise the tables are resampled in every forward, by a filter that
    ONNX has no equal of.
    """
    for part in module.modules():
        patches = getattr(part, "patch_embed", None)
        if getattr(part, "dynamic_img_size", False) and hasattr(patches, "set_input_size"):
            with torch.no_grad():
                cast(Any, part).set_input_size(img_size=(size, size))


class VisionTransformerFamily:
    """Stages stem (patches and positions), blocks.0, blocks.1, ..., the last with the final norm and pooling."""

    def recognises(self, model: nn.Module) -> bool:
        known = f"{type(model).__module__}.{type(model).__name__}" == "timm.models.vision_transformer.VisionTransformer"
        return known and getattr(model, "attn_pool", None) is None

    def dissect(self, model: nn.Module) -> Dissection:
        blocks = dict(model.get_submodule("blocks").named_children())
        *_, last = blocks
        blocks[last] = nn.Sequential(blocks[last], Pooling(model))
        stages = (
            Stage("stem", Embedding(model)),
            *(Stage(f"blocks.{name}", block) for name, block in blocks.items()),
        )
        return Dissection(stages, "head")


FAMILY = VisionTransformerFamily()
