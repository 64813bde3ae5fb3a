"""FAMILIES: kinds of models by structure. The first family that recognises a model cuts it; `whole` takes the rest."""

from __future__ import annotations

from clearsight.core.registry import Registry
from clearsight.models.dissection import Family

FAMILIES: Registry[Family] = Registry(
    "model family",
    {
        "tiny": "clearsight.models.families.tiny:FAMILY",
        "resnet": "clearsight.models.families.resnet:FAMILY",
        "efficientnet": "clearsight.models.families.efficientnet:FAMILY",
        "mobilenet": "clearsight.models.families.mobilenet:FAMILY",
        "alexnet": "clearsight.models.families.alexnet:FAMILY",
        "convnext": "clearsight.models.families.convnext:FAMILY",
        "vit": "clearsight.models.families.vit:FAMILY",
    },
    group="clearsight.model_families",
)
