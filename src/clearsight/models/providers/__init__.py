"""Where models come from: torchvision (plain names), timm ("timm/<name>") and clearsight itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from clearsight.core.preprocess import Preprocess
from clearsight.core.registry import Registry


@runtime_checkable
class ModelProvider(Protocol):
    """A collection of models. Names are given without prefix.

    prefix: what stands before its names ("timm/"), or "".
    names: every name, without building anything.
    construct: the zoo's model with random weights and a classifier of `classes` outputs.
    preprocess: what the pretrained weights expect; `file` is the name of a weights file, should it say more.
    adapt: tensors of a weights file with the keys that `construct` has.
    download: pretrained tensors, or None where there are none to be had. Network and hub errors pass through.

    Unknown names need no answer: only what `names` lists is asked for (timm's may carry a tag of the weights).
    """

    prefix: str

    def names(self) -> list[str]: ...

    def construct(self, name: str, classes: int) -> nn.Module: ...

    def preprocess(self, name: str, file: str = "") -> Preprocess: ...

    def adapt(self, name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    def download(self, name: str) -> dict[str, Tensor] | None: ...


PROVIDERS: Registry[ModelProvider] = Registry(
    "model collection",
    {
        "clearsight": "clearsight.models.providers.builtin:PROVIDER",
        "torchvision": "clearsight.models.providers.torchvision:PROVIDER",
        "timm": "clearsight.models.providers.timm:PROVIDER",
    },
    group="clearsight.model_origins",
)
