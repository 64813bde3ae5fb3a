"""torchvision's classification models, by the names that torchvision gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from clearsight.core.preprocess import Preprocess
from clearsight.models.hub import check_reachable
from clearsight.models.weights_file import TORCH

# Both were ported from TensorFlow with its normalisation built in; their side classifiers help training from scratch
# alone.
_PORTED = ("googlenet", "inception_v3")
_SIDE = ("aux1.", "aux2.", "AuxLogits.")

# DenseNet files from before module names could hold no dot: "norm.1.weight" is "norm1.weight" today.
_OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)


class TorchvisionProvider:
    """All image classifiers of torchvision.models."""

    prefix = ""

    def names(self) -> list[str]:
        import torchvision

        return sorted(torchvision.models.list_models(module=torchvision.models))

    def construct(self, name: str, classes: int) -> nn.Module:
        import torchvision

        ported = {"aux_logits": False, "transform_input": True, "init_weights": True}
        settings = ported if name in _PORTED else {}
        return cast(nn.Module, torchvision.models.get_model(name, weights=None, num_classes=classes, **settings))

    def preprocess(self, name: str, file: str = "") -> Preprocess:
        import torchvision

        choices = torchvision.models.get_model_weights(name)
        weights = next((w for w in choices if w.url.rpartition("/")[2] == file), choices.DEFAULT)
        preset = weights.transforms()
        return Preprocess(
            size=preset.crop_size[0],
            resize=max(preset.resize_size[0], preset.crop_size[0]),
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            interpolation=preset.interpolation.value,
            source=f"torchvision's {weights}",
        )

    def adapt(self, name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if name in _PORTED:
            return {key: value for key, value in tensors.items() if not key.startswith(_SIDE)}
        if name.startswith("densenet"):
            return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in tensors.items()}
        return dict(tensors)

    def download(self, name: str) -> dict[str, Tensor] | None:
        import torch
        import torchvision

        weights = torchvision.models.get_model_weights(name).DEFAULT
        if not (Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]).is_file():
            check_reachable(weights.url)
        tensors = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        return self.adapt(name, tensors)

    def licence(self, name: str) -> str:
        """Return "": torchvision states no licence of its weights."""
        return ""

    def hub_download(self, name: str) -> str:
        """Return the file that the weights come in."""
        import torchvision

        return TORCH + str(torchvision.models.get_model_weights(name).DEFAULT.url.rpartition("/")[2])


PROVIDER = TorchvisionProvider()
