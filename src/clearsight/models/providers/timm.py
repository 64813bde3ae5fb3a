"""timm's models, as "timm/<name>" or "timm/<name>.<tag of the pretrained weights>"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from torch import Tensor, nn

from clearsight.core.errors import BadChoice
from clearsight.core.preprocess import Interpolation, Preprocess
from clearsight.models.hub import check_hugging_face, check_reachable, quiet_clients
from clearsight.models.providers import ModelProvider
from clearsight.models.weights_file import HUGGING_FACE

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # the names under which timm looks for weights at the hub


class TimmProvider(ModelProvider):
    """All models that timm registers."""

    prefix = "timm/"

    def names(self) -> list[str]:
        import timm

        return cast(list[str], timm.list_models())

    def construct(self, name: str, classes: int) -> nn.Module:
        import timm

        return cast(nn.Module, timm.create_model(name, num_classes=classes, **_settings(name)))

    def preprocess(self, name: str, file: str = "") -> Preprocess:
        config = _pretrained_config(name)
        # A model without pretrained weights has no such entry; the class's own default is what timm then uses.
        facts = {} if config is None else {key: value for key, value in config.to_dict().items() if value is not None}
        return from_config(facts, f"timm's pretrained_cfg of {name}")

    def download(self, name: str) -> dict[str, Tensor] | None:
        import timm

        config = _pretrained_config(name)
        if config is None or not config.has_weights:
            return None
        file = _cached_file(config)
        if not file:
            _check_source(config)
        # A file of the cache is loaded as it is: the hub's client would ask the hub first whether there is a newer one.
        overlay = {"file": file} if file and not config.custom_load else None
        with quiet_clients():
            model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **_settings(name))
        return cast(dict[str, Tensor], model.state_dict())

    def licence(self, name: str) -> str:
        """Return the licence of the weights as timm states it, "" where it does not."""
        config = _pretrained_config(name)
        return str(getattr(config, "license", None) or "")

    def hub_download(self, name: str) -> str:
        """Return the repository that the weights come from, "" if there are none."""
        config = _pretrained_config(name)
        if config is None or not config.has_weights:
            return ""
        return f"{HUGGING_FACE}{config.hf_hub_id}" if config.hf_hub_id else str(config.url)


def _pretrained_config(name: str) -> Any:
    """Return timm's configuration of a model, None without one; raises BadChoice for a tag that timm does not have."""
    import timm

    architecture, _, tag = name.partition(".")
    tags = [known.partition(".")[2] for known in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        raise BadChoice(f"--model timm/{name}", "timm has no weights with that tag", got=tag, allowed=tags)
    return timm.models.get_pretrained_cfg(name, allow_unregistered=True)


def _cached_file(config: Any) -> str:
    """Return the path of a model's weights in the cache of the hub or of torch, "" if they are in neither."""
    import torch
    from huggingface_hub import try_to_load_from_cache

    if config.hf_hub_id:
        repo, _, revision = config.hf_hub_id.partition("@")
        for name in filter(None, (config.hf_hub_filename, *_HUB_FILES)):
            if isinstance(found := try_to_load_from_cache(repo, name, revision=revision or None), str):
                return found
        return ""
    file = Path(torch.hub.get_dir()) / "checkpoints" / config.url.rpartition("/")[2]
    return str(file) if file.is_file() else ""


def _check_source(config: Any) -> None:
    """Raise HubUnreachable if the server of a model's weights does not answer, or must not be asked."""
    if config.hf_hub_id:
        check_hugging_face()
    else:
        check_reachable(config.url)


def _settings(name: str) -> dict[str, Any]:
    import timm

    architecture = name.partition(".")[0]
    module = timm.models.model_entrypoint(architecture).__module__
    if module == "timm.models.vision_transformer" or (module == "timm.models.deit" and "distilled" not in name):
        return {"dynamic_img_size": True}  # by default a transformer takes images of one size only
    return {}


def from_config(facts: Mapping[str, Any], source: str) -> Preprocess:
    """Return the preprocessing in timm's `pretrained_cfg`, with timm's defaults (224, ImageNet, 0.875) for the rest.

    `resize` is the size divided by `crop_pct`. Raises pydantic's ValidationError (a ValueError) for impossible values,
    KeyError or TypeError for values of another type.
    """
    size = int(facts.get("input_size", (3, 224, 224))[-1])
    interpolation = facts.get("interpolation", "bilinear")
    # Left out where timm says nothing, so that Preprocess's own default (ImageNet) counts.
    values: dict[str, Any] = {key: tuple(facts[key]) for key in ("mean", "std") if key in facts}
    if not all(math.isfinite(value) for channel in values.values() for value in channel):
        raise ValueError("mean and std must be finite")
    return Preprocess(
        size=size,
        # A crop_pct above 1 would ask for a crop that is larger than the image.
        resize=max(size, round(size / float(facts.get("crop_pct", 0.875)))),
        interpolation=interpolation if interpolation in get_args(Interpolation) else "bilinear",
        source=source,
        **values,
    )


PROVIDER = TimmProvider()
