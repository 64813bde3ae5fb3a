"""FAMILIES: kinds of models by structure. The first family that recognises a model cuts it; `whole` takes the rest."""

from __future__ import annotations

from clearsight.core.registry import Registry
from clearsight.models.dissection import Family

_NAMES = ("tiny", "resnet", "efficientnet", "mobilenet", "alexnet", "convnext", "vit")

FAMILIES: Registry[Family] = Registry(
    "model family",
    {name: f"clearsight.models.families.{name}:FAMILY" for name in _NAMES},
    group="clearsight.model_families",
)
