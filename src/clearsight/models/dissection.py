"""Anatomy: where a model of the zoo can be cut, and where its classifier is. One family of models per file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn

from clearsight.core.errors import BadChoice
from clearsight.models.network import Stage


@dataclass(frozen=True, eq=False)
class Dissection:
    """`stages` give the features (N, D); `head` is the qualified name of the linear layer that reads them."""

    stages: tuple[Stage, ...]
    head: str


@runtime_checkable
class Family(Protocol):
    """A kind of model that is cut in one way.

    `recognises` is asked with a freshly made model and looks at its type and attributes only.
    `dissect` may replace the dropout directly before the classifier, which belongs to the head, by nothing.
    """

    def recognises(self, model: nn.Module) -> bool: ...

    def dissect(self, model: nn.Module) -> Dissection: ...


def without(model: nn.Module, *names: str) -> nn.Module:
    """A view of `model` in which the submodules called `names` pass their input through.

    The view shares every other submodule and parameter with `model`, has its class and its `forward`, and none of its
    hooks. So `without(model, "fc")` gives the features that "fc" would have read, can be traced, copied and pickled,
    and lists exactly the parameters that it uses. Names of parameters are dropped from the view.
    """
    view = _shallow(model)
    inner: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition(".")
        if rest:
            inner.setdefault(first, []).append(rest)
        elif first in view._parameters:
            view._parameters[first] = None
        else:
            view._modules[first] = nn.Identity()
    for first, rests in inner.items():
        view._modules[first] = without(model.get_submodule(first), *rests)
    return view


def _shallow(module: nn.Module) -> nn.Module:
    own = nn.Module()
    view = module.__class__.__new__(module.__class__)
    nn.Module.__init__(view)
    view.__dict__.update({key: value for key, value in module.__dict__.items() if key not in own.__dict__})
    view._parameters = dict(module._parameters)
    view._buffers = module._buffers
    view._modules = dict(module._modules)
    view._non_persistent_buffers_set = module._non_persistent_buffers_set
    view.training = module.training
    return view


def classifier_inputs(model: nn.Module, name: str, path: str) -> int:
    """Features that the classifier at `path` of the model called `name` reads.

    It is a linear layer, or a convolution of one pixel over pooled features, which is the same thing. Raises BadChoice
    for anything else.
    """
    layer = model.get_submodule(path)
    if isinstance(layer, nn.Linear):
        return layer.in_features
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1:
        return layer.in_channels
    raise no_classifier(name)


def no_classifier(name: str) -> BadChoice:
    """The one wording for a model that cannot be given a new head."""
    return BadChoice(
        f"--model {name}",
        "it does not end in one linear layer, so a new head cannot take its place",
        fix="Choose another model.",
    )


def drop_dropout(container: nn.Module, names: Iterable[str]) -> None:
    """Put nothing in the place of each dropout in `container`; no parameter changes its name."""
    for name in names:
        if isinstance(container.get_submodule(name), nn.Dropout):
            container.add_module(name, nn.Identity())
