"""Names of models as the installed packages register them, read from their source: importing them takes seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from clearsight.core.errors import BadChoice
from clearsight.core.recipe import UNTRAINED_MODELS
from clearsight.models.providers import PROVIDERS

_PACKAGES = {"torchvision": "", "timm": "timm/"}  # package with models/*.py -> what --model has before its names
# A decorator of timm and of torchvision; others may follow it.
_REGISTERED = re.compile(r"^@register_model(?:\([^)]*\))?\s*\n(?:[@#].*\n)*def (\w+)\(", re.MULTILINE)


def known_names() -> list[str]:
    """Return every model name of clearsight, torchvision and timm, as `--model` takes it; loads none of them."""
    found = [prefix + name for package, prefix in _PACKAGES.items() for name in _registered(package)]
    return [*UNTRAINED_MODELS, *sorted(found)]


def check_name(model: str, flag: str = "--model ") -> None:
    """Raise BadChoice for a model that no provider has, with the nearest name. flag: what the error begins with.

    A plug-in may have names that only its code knows: with one installed, an unknown name is not judged here.
    """
    if model in UNTRAINED_MODELS or {"clearsight", *_PACKAGES} < {*PROVIDERS.names()}:
        return
    for package, prefix in sorted(_PACKAGES.items(), key=lambda entry: -len(entry[1])):
        if model.startswith(prefix):
            plain = model.removeprefix(prefix)
            # Names of timm may have a tag of pretrained weights: "resnet50.a1_in1k".
            name = plain.partition(".")[0] if prefix else plain
            if name in _registered(package, name):
                return
    raise unknown_model(model, known_names(), flag)


def unknown_model(model: str, known: list[str], flag: str = "--model ") -> BadChoice:
    """Return the error for a model that is not among the names `known`."""
    fix = f"Write timm/{model}." if f"timm/{model}" in known else ""
    got = None if fix else model
    return BadChoice(f"{flag}{model}", "there is no model of that name", got=got, allowed=known, fix=fix)


def source_of(model: str) -> str:
    """Return the source of the module that registers a model, "" where there is none."""
    package, name = ("timm", model.removeprefix("timm/")) if model.startswith("timm/") else ("torchvision", model)
    plain = name.partition(".")[0]
    return next((source for source in _sources(package, plain) if plain in _REGISTERED.findall(source)), "")


def _registered(package: str, name: str = "") -> Iterator[str]:
    """Yield the names that the modules of a package register. name: leave out modules that do not define it."""
    for source in _sources(package, name):
        yield from _REGISTERED.findall(source)


def _sources(package: str, name: str) -> Iterator[str]:
    """Yield the sources of the modules of a package that define a function whose name begins with `name`."""
    spec = find_spec(package)  # of a package that is no part of another one: this imports nothing
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in sorted((Path(root) / "models").glob("*.py")):
            source = path.read_text(encoding="utf-8")
            if f"def {name}" in source:
                yield source
