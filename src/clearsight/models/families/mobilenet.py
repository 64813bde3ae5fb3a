"""torchvision's mobile networks that are a list of `features`: MobileNet v2 and v3, EfficientNet v1 and v2."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection, drop_dropout
from clearsight.models.network import Stage

_TYPES = (
    "torchvision.models.mobilenetv2.MobileNetV2",
    "torchvision.models.mobilenetv3.MobileNetV3",
    "torchvision.models.efficientnet.EfficientNet",
)


class MobileNetFamily:
    """Stages stem, features.1, features.2, ..., the last with the pooling and any layer before the classifier."""

    def recognises(self, model: nn.Module) -> bool:
        return f"{type(model).__module__}.{type(model).__name__}" in _TYPES

    def dissect(self, model: nn.Module) -> Dissection:
        stem, *blocks, last = model.get_submodule("features").named_children()
        classifier = dict(model.get_submodule("classifier").named_children())
        head = list(classifier)[-1]
        drop_dropout(model.get_submodule("classifier"), list(classifier)[-2:-1])
        # MobileNet v2 pools by a function in its forward, which no module stands for.
        pool = model.get_submodule("avgpool") if hasattr(model, "avgpool") else nn.AdaptiveAvgPool2d(1)
        before = list(model.get_submodule("classifier").children())[:-1]
        stages = (
            Stage("stem", stem[1]),
            *(Stage(f"features.{name}", block) for name, block in blocks),
            Stage(f"features.{last[0]}", nn.Sequential(last[1], pool, nn.Flatten(), *before)),
        )
        return Dissection(stages, f"classifier.{head}")


FAMILY = MobileNetFamily()
