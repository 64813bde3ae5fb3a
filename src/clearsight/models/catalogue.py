"""Catalogue of the zoo: every name, and for a model its parameters, input, licence, weights at hand, and speed here.

Names are listed without torch where the versions of the providers have not changed since they were listed last.
"""

from __future__ import annotations

import importlib.metadata
import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearsight.core.cache import optional_write, read_sealed, write_sealed
from clearsight.core.machine import cores, installed
from clearsight.models.weights_file import candidates, downloaded

if TYPE_CHECKING:
    from torch import nn

_BATCH = 8  # images of a measured step
_STEPS = 3  # timed steps; the fastest counts, since other programs only ever slow one down
# What models of other libraries raise on the meta device, or for want of a package.
_UNBUILDABLE = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError, ImportError)
_REFERENCE = "resnet18"  # measured where no model has been, so that others can be estimated from it


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What is known about a model without its weights.

    parameters: with the classifier of its pretrained weights.  operations: of a forward pass of one image, multiply and
    add counted as two.  input_size: pixels.  licence: of the weights, "" where the provider does not say.
    download: what the provider's weights are downloaded from, "" if there are none; see `weights_file.downloaded`.
    """

    name: str
    parameters: int
    operations: int
    input_size: int
    licence: str
    download: str


class Catalogue:
    """Names, facts and measured speeds, kept in the folder `cache`. device: "cpu" or "cuda".

    machine: processor and threads, since a speed counts for one machine.
    """

    def __init__(self, cache: Path, device: str, machine: str) -> None:
        self._cache = cache
        self._names_file, self._speeds_file = cache / "model_facts.jsonl", cache / "model_measurements.jsonl"
        self._device, self._machine = device, f"{machine}, {device}"
        self._versions = _provider_versions()
        state = _read(self._names_file)
        self._state: dict[str, Any] = (
            state if state.get("versions") == self._versions else {"versions": self._versions, "facts": {}}
        )
        self._speeds: dict[str, dict[str, dict[str, float]]] = _read(self._speeds_file)

    def names(self) -> list[str]:
        """Return every model name; imports torchvision and timm unless the names are in the cache."""
        if "names" not in self._state:
            from clearsight.models.zoo import names

            self._state["names"] = names()
            self._write(self._names_file, self._state)
        return list(self._state["names"])

    def facts(self, names: Sequence[str]) -> list[ModelFacts | None]:
        """Return the facts of each model, None for one that cannot be built; new ones are added to the cache."""
        known: dict[str, dict[str, Any] | None] = self._state["facts"]
        new = [name for name in names if name not in known]
        for name in new:
            facts = _facts(name)
            known[name] = asdict(facts) if facts is not None else None
        if new:
            self._write(self._names_file, self._state)
        return [ModelFacts(**row) if (row := known[name]) is not None else None for name in names]

    def measured(self, name: str) -> dict[str, float] | None:
        """Return {"train", "forward"} in images/s as measured on this machine; None without a measurement."""
        return self._speeds.get(self._machine, {}).get(name)

    def measure(self, facts: ModelFacts) -> dict[str, float]:
        """Measure a model on this machine, in seconds, and keep the result."""
        speeds = _speeds(facts, self._device)
        self._speeds.setdefault(self._machine, {})[facts.name] = speeds
        self._write(self._speeds_file, self._speeds)
        return speeds

    def _write(self, path: Path, value: Mapping[str, Any]) -> None:
        with optional_write(self._cache):
            write_sealed(path, json.dumps(value, ensure_ascii=False) + "\n")

    def estimate(self, facts: ModelFacts) -> dict[str, float] | None:
        """Return the speeds to expect from the operations of a model, at the rate of the models that were measured.

        Real speeds differ by a factor of two or three: depthwise convolutions wait for memory.  None for a model
        whose operations are unknown.
        """
        if not facts.operations:
            return None
        if not self._speeds.get(self._machine):
            reference = self.facts([_REFERENCE])[0]
            if reference is None:
                return None
            self.measure(reference)
        measured = self._speeds[self._machine]
        known = dict(zip(measured, self.facts(list(measured)), strict=True))
        rates: dict[str, list[float]] = {"train": [], "forward": []}
        for name, speeds in measured.items():
            row = known[name]
            if row is not None and row.operations:
                for kind in rates:
                    rates[kind].append(speeds[kind] * row.operations)
        return {kind: statistics.median(values) / facts.operations for kind, values in rates.items() if values} or None


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """Return the names that match a pattern such as resnet* or timm/vit_*; a pattern without * may be any part.

    The part before the slash may be left out, and upper and lower case are the same.
    """
    lower = pattern.lower()
    glob = lower if any(mark in lower for mark in "*?[") else f"*{lower}*"
    return [
        name for name in names if fnmatchcase(name.lower(), glob) or fnmatchcase(name.lower().partition("/")[2], glob)
    ]


def weights_at_hand(facts: ModelFacts, folders: Iterable[Path], torch_hub: Path) -> str:
    """Return where pretrained weights of a model lie on this disk, "" if nowhere.

    folders: searched first, then the caches of the hubs that providers download into.  torch_hub: that of torch.hub.
    """
    if found := candidates(facts.name, folders):
        return str(found[0])
    return str(downloaded(facts.download, torch_hub) or "")


def _facts(name: str) -> ModelFacts | None:
    """Build a model without memory for its weights and count what it has."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from clearsight.models.zoo import find

    provider, plain = find(name)
    size = provider.preprocess(plain).size
    try:
        with torch.device("meta"):
            model = provider.construct(plain, 1000).eval()
        parameters = sum(parameter.numel() for parameter in model.parameters())
    except _UNBUILDABLE:  # it is listed by its name alone
        return None
    try:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            model(torch.empty(1, 3, size, size, device="meta"))
        operations = int(counter.get_total_flops())
    except _UNBUILDABLE:  # some need values, which a tensor on the meta device has not: operations stay unknown
        operations = 0
    # Plug-ins from before these methods have none.
    licence = getattr(provider, "licence", lambda _: "")(plain)
    download = getattr(provider, "hub_download", lambda _: "")(plain)
    return ModelFacts(
        name=name,
        parameters=parameters,
        operations=operations,
        input_size=size,
        licence=licence,
        download=download,
    )


def _speeds(facts: ModelFacts, device: str) -> dict[str, float]:
    """Return images/s of training steps and of forward passes, with random weights and random images."""
    import torch

    from clearsight.models.zoo import find

    provider, plain = find(facts.name)
    model = provider.construct(plain, 1000).to(device)
    images = torch.zeros(_BATCH, 3, facts.input_size, facts.input_size, device=device)
    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, cores()))  # in a container torch counts the cores of the host
    try:
        forward = _rate(model.eval(), images, backward=False)
        return {"train": _rate(model.train(), images, backward=True), "forward": forward}
    finally:
        torch.set_num_threads(threads)


def _rate(model: nn.Module, images: Any, *, backward: bool) -> float:
    import torch

    seconds = []
    for _ in range(_STEPS + 1):
        start = time.perf_counter()
        with torch.inference_mode(not backward):
            output = model(images)
            if backward:
                loss = sum(part.float().square().sum() for part in (output if isinstance(output, tuple) else [output]))
                loss.backward()
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        seconds.append(time.perf_counter() - start)
    # The first step sets up kernels.
    return float(len(images) / min(seconds[1:]))


def _provider_versions() -> dict[str, str | None]:
    """Return the versions of the packages that name models, plug-ins among them."""
    from clearsight.models.providers import PROVIDERS

    points = importlib.metadata.entry_points(group=PROVIDERS.group)
    plugins = {point.dist.name: point.dist.version for point in points if point.dist is not None}
    return {**{package: installed(package) for package in ("clearsight", "torchvision", "timm")}, **plugins}


def _read(path: Path) -> dict[str, Any]:
    """Return what `Catalogue` has stored; nothing where it is missing or damaged."""
    text = read_sealed(path, "facts about models")
    values: dict[str, Any] = json.loads(text) if text is not None else {}
    return values
