"""Pretrained weights: found as a file or a download, checked against the model, with their preprocessing."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from clearsight.core.errors import BadValue
from clearsight.core.preprocess import Preprocess
from clearsight.models.checkpoints import Checkpoint, read_pickled, short
from clearsight.models.hub import HubUnreachable
from clearsight.models.providers import ModelProvider
from clearsight.models.weights_file import candidates, check_file, classes_of, unavailable

_SHOWN = 3  # keys named as examples in an error


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights:
    """Weights that a network starts from. tensors: None for random ones.  origin: a few words, or the file's path.

    architecture: what the file says it was made for, "" if it does not say.  classes: those of the head in the file,
    None where it does not say them.
    """

    tensors: Mapping[str, Tensor] | None
    preprocess: Preprocess
    origin: str
    file: str = ""
    architecture: str = ""
    classes: tuple[str, ...] | None = None

    @property
    def text(self) -> str:
        """Return one sentence for the log."""
        values = self.preprocess
        mean, std = ("/".join(f"{value:g}" for value in channel) for channel in (values.mean, values.std))
        return f"{self.origin}; mean {mean}, std {std}, size {values.size} from {values.source}"


def resolve(weights: str, provider: ModelProvider, name: str, folders: Sequence[Path]) -> PretrainedWeights:
    """Return the weights that `--weights` means for model `name` of `provider`.

    weights: "none" (random); "default" (a file for the model in one of `folders`, else the provider's download or its
    cache); or the path of a .safetensors file or of a .pth, which is loaded without running any code in it.
    Raises NotFound, BadValue (damaged or of another kind), WeightsUnavailable (nothing for "default").
    """
    if weights == "none":
        return PretrainedWeights(tensors=None, preprocess=provider.preprocess(name), origin="random weights")
    if weights != "default":
        return from_file(Path(weights).expanduser(), provider, name)
    for path in candidates(provider.prefix + name, folders):
        found = from_file(path, provider, name)
        # The name of a file may only begin like the model: resnet50_... may be a resnet50d by its metadata.
        if found.architecture in ("", name, name.partition(".")[0]):
            return found
    return _downloaded(provider, name, folders)


def from_file(path: Path, provider: ModelProvider, name: str) -> PretrainedWeights:
    """Return the weights in the file at `path`, with the preprocessing of its metadata or else of the provider."""
    check_file(path)
    checkpoint, config = read(path)
    checkpoint = checkpoint.plain()
    declared = config.get("pretrained_cfg", {})
    return PretrainedWeights(
        tensors=provider.adapt(name, checkpoint.tensors),
        preprocess=_declared(declared, path) if declared else provider.preprocess(name, path.name),
        origin=f"{path}, {checkpoint.note}" if checkpoint.note else str(path),
        file=str(path),
        architecture=str(config.get("architecture", "")),
        classes=classes_of(path) or _class_names(config),
    )


def read(path: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """Return the tensors of a file, and the "config" of a safetensors file's metadata ({} for others). No code runs."""
    if path.suffix == ".safetensors":
        tensors, config = _read_safetensors(path)
        return Checkpoint(tensors), config
    check_file(path)
    return read_pickled(path), {}


def load(model: nn.Module, pretrained: PretrainedWeights, head_name: str, *, with_head: bool = True) -> bool:
    """Copy the tensors into `model`, except a classifier whose shapes differ from those at `head_name`.

    with_head: False to keep the new classifier in any case.  Returns True if the classifier was copied.
    Raises BadValue when anything else is missing, unexpected or of another shape.
    """
    tensors, state, prefix = dict(pretrained.tensors or {}), model.state_dict(), f"{head_name}."
    head = {key: tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}
    shapes = {key: value.shape for key, value in state.items() if key.startswith(prefix)}
    fits = with_head and {key: value.shape for key, value in head.items()} == shapes
    if fits:
        tensors.update(head)
    missing = [
        key
        for key in state
        # Files from before torch 0.4.1 have no counters of batches, which BatchNorm reads only without a momentum.
        if key not in tensors and not key.startswith(prefix) and not key.endswith(".num_batches_tracked")
    ]
    unexpected = [key for key in tensors if key not in state]
    reshaped = [key for key, value in tensors.items() if key in state and value.shape != state[key].shape]
    if missing or unexpected or reshaped:
        counts = ((missing, "missing"), (unexpected, "unexpected"), (reshaped, "of another shape"))
        faults = ", ".join(
            f"{len(keys)} {fault} ({', '.join(keys[:_SHOWN])}{', ...' if len(keys) > _SHOWN else ''})"
            for keys, fault in counts
            if keys
        )
        made_for = f"; the file says it is for {pretrained.architecture}" if pretrained.architecture else ""
        flag = f"--weights {pretrained.file or 'default'}"
        problem = f"its tensors do not fit the model: {faults}{made_for}"
        raise BadValue(flag, problem, fix="Pass the --model that it was made for.")
    model.load_state_dict(tensors, strict=False)
    return fits


def _downloaded(provider: ModelProvider, name: str, folders: Sequence[Path]) -> PretrainedWeights:
    model = provider.prefix + name
    try:
        tensors, reason = provider.download(name), "nothing to download"
    except HubUnreachable as error:
        tensors, reason = None, str(error)
    except _unreachable() as error:
        tensors, reason = None, f"the download failed ({type(error).__name__})"
    if tensors is not None or name == "tiny":  # tiny exists to be trained from scratch
        origin = "random weights (tiny has no pretrained ones)" if tensors is None else f"pretrained {model}"
        return PretrainedWeights(tensors=tensors, preprocess=provider.preprocess(name), origin=origin)
    raise unavailable(model, folders, reason)


def _unreachable() -> tuple[type[Exception], ...]:
    """Return the errors that a download can raise: of sockets and files, of damaged responses, and of the hub."""
    from huggingface_hub.errors import HfHubHTTPError

    # RuntimeError: torch.hub on a wrong digest. Newer hubs use httpx, which is loaded already if it raised an error.
    kinds = [OSError, RuntimeError, ValueError, EOFError, http.client.HTTPException, HfHubHTTPError]
    client = sys.modules.get("httpx")
    return (*kinds, client.HTTPError) if client else tuple(kinds)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as opened:
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  (not a mapping)
            metadata = opened.metadata() or {}
        config = json.loads(metadata.get("config", "{}"))
    except (SafetensorError, OSError) as error:
        raise _unusable(path, f"it is not a safetensors file ({short(error)})") from None
    except (json.JSONDecodeError, RecursionError):
        raise _unusable(path, "the config in its metadata is not JSON") from None
    return tensors, config if isinstance(config, dict) else {}


def _class_names(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the classes that the metadata of a file name, as timm and clearsight write them; None without them."""
    names = config.get("label_names")
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def _declared(config: Mapping[str, Any], path: Path) -> Preprocess:
    from clearsight.models.providers.timm import from_config

    try:
        return from_config(config, f"the metadata of {path.name}")
    except (ValueError, TypeError, LookupError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise _unusable(path, f"the preprocessing in its metadata is impossible ({short(error)})") from None


def _unusable(path: Path, problem: str, fix: str = "") -> BadValue:
    return BadValue(f"--weights {path}", problem, fix=fix)
