"""torchvision's mobile networks that are a list of `features`: MobileNet v2 and v3, EfficientNet v1 and v2."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection, ExactFamily, drop_dropout

_TYPES = (
    "torchvision.models.mobilenetv2.MobileNetV2",
    "torchvision.models.mobilenetv3.MobileNetV3",
    "torchvision.models.efficientnet.EfficientNet",
)


def dissect(model: nn.Module) -> Dissection:
    """Return stages stem, features.1, features.2, ..., the last with pooling and any layer before the classifier."""
    (_, stem), *blocks = model.get_submodule("features").named_children()
    parts = {"stem": stem, **{f"features.{name}": block for name, block in blocks}}
    classifier = model.get_submodule("classifier")
    *others, head = (name for name, _ in classifier.named_children())
    drop_dropout(classifier, others[-1:])
    before = list(classifier.children())[:-1]
    # MobileNet v2 pools by a function in its forward, which no module stands for.
    pool = model.get_submodule("avgpool") if hasattr(model, "avgpool") else nn.AdaptiveAvgPool2d(1)
    *_, last = parts
    parts[last] = nn.Sequential(parts[last], pool, nn.Flatten(), *before)
    return Dissection.of(parts, f"classifier.{head}")


FAMILY = ExactFamily(_TYPES, dissect)
