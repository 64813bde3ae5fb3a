"""PROVIDERS: collections of models: torchvision (plain names), timm ("timm/<name>") and clearsight itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from clearsight.core.preprocess import Preprocess
from clearsight.core.registry import Registry

if TYPE_CHECKING:  # so that names can be listed without torch
    from torch import Tensor, nn


@runtime_checkable
class ModelProvider(Protocol):
    """Collection of models. Methods take names without the prefix.

    prefix: text before its names ("timm/"), or "".
    names: returns every name, without building anything.
    construct: returns the zoo's model with random weights and a classifier of `classes` outputs.
    preprocess: returns what the pretrained weights expect; `file` is the name of a weights file, which may tell more.
    adapt: returns the tensors of a weights file under the keys that `construct` has.
    licence: returns that of the weights, "" where it is not stated.
    hub_download: returns what is downloaded, as `weights_file.downloaded` takes it; "" if there are no weights.
    download: returns pretrained tensors, or None if there are none. Network and hub errors pass through.

    Methods are called only with names that `names` lists (those of timm may have a tag of the weights).
    """

    prefix: str

    def names(self) -> list[str]: ...

    def construct(self, name: str, classes: int) -> nn.Module: ...

    def preprocess(self, name: str, file: str = "") -> Preprocess: ...

    def adapt(self, name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(tensors)

    def licence(self, name: str) -> str:
        return ""

    def hub_download(self, name: str) -> str:
        return ""

    def download(self, name: str) -> dict[str, Tensor] | None:
        return None


PROVIDERS: Registry[ModelProvider] = Registry(
    "model collection",
    {
        "clearsight": "clearsight.models.providers.builtin:PROVIDER",
        "torchvision": "clearsight.models.providers.torchvision:PROVIDER",
        "timm": "clearsight.models.providers.timm:PROVIDER",
    },
    group="clearsight.model_origins",  # its name since version 0.1, which plug-ins use
)
