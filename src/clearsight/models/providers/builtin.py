"""Models of clearsight itself, and one that timm can build but does not register."""

from __future__ import annotations

from typing import cast

from torch import nn

from clearsight.core.preprocess import Channel, Preprocess
from clearsight.models.providers import ModelProvider

_HALF: Channel = (0.5, 0.5, 0.5)  # maps [0, 1] to [-1, 1]; there are no weights that expect other values


def _tiny(classes: int) -> nn.Module:
    from clearsight.models.families.tiny import Tiny

    return Tiny(classes)


def _mobilenetv1_025(classes: int) -> nn.Module:
    # A quarter of the channels of MobileNet v1 (Howard et al. 2017); timm registers only the wider ones.
    from timm.models.efficientnet import _gen_mobilenet_v1

    return cast(nn.Module, _gen_mobilenet_v1("mobilenetv1_100", 0.25, num_classes=classes))


_MODELS = {"tiny": (_tiny, 32), "mobilenetv1_025": (_mobilenetv1_025, 128)}


class BuiltinProvider(ModelProvider):
    """tiny (32 pixels) and mobilenetv1_025 (128 pixels); neither has weights to download."""

    prefix = ""

    def names(self) -> list[str]:
        return list(_MODELS)

    def construct(self, name: str, classes: int) -> nn.Module:
        return _MODELS[name][0](classes)

    def preprocess(self, name: str, file: str = "") -> Preprocess:
        size = _MODELS[name][1]
        resize = size if name == "tiny" else round(size / 0.875)
        return Preprocess(size=size, resize=resize, mean=_HALF, std=_HALF, source=f"the defaults of {name}")

    def licence(self, name: str) -> str:
        """Return "": there are no weights."""
        return ""

    def hub_download(self, name: str) -> str:
        """Return "": there are none."""
        return ""


PROVIDER = BuiltinProvider()
