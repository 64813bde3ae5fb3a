"""Dissection: the stages into which a model of the zoo is cut, and its classifier. One family of models per file."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn

from clearsight.core.errors import BadChoice
from clearsight.models.network import Stage


@dataclass(frozen=True, eq=False)  # compared by identity: modules have no equality
class Dissection:
    """Stages that give the features (N, D) when run in order, and the qualified name of the linear layer after them."""

    stages: tuple[Stage, ...]
    head: str

    @classmethod
    def of(cls, parts: Mapping[str, nn.Module], head: str) -> Dissection:
        """Return the dissection with a stage for each of `parts`, by name."""
        return cls(tuple(Stage(name, part) for name, part in parts.items()), head)


@runtime_checkable
class Family(Protocol):
    """Models that are cut in the same way.

    recognises: returns True for a new model of the family, by its type and attributes alone.
    dissect: may replace the dropout directly before the classifier, which belongs to the head, by an identity.
    """

    def recognises(self, model: nn.Module) -> bool: ...

    def dissect(self, model: nn.Module) -> Dissection: ...


@dataclass(frozen=True)
class ExactFamily:
    """Family of the models of some types, by qualified name; subclasses are left out, since they may change `forward`.

    accepts: further condition on a model of these types.
    """

    types: Container[str]
    dissect: Callable[[nn.Module], Dissection]
    accepts: Callable[[nn.Module], bool] = lambda model: True

    def recognises(self, model: nn.Module) -> bool:
        return type_name(model) in self.types and self.accepts(model)


def type_name(model: nn.Module) -> str:
    """Return the qualified name of the type of `model`."""
    return f"{type(model).__module__}.{type(model).__name__}"


def without(model: nn.Module, *names: str) -> nn.Module:
    """Return a view of `model` in which the submodules called `names` pass their input through.

    The view shares every other submodule and parameter with `model`, has its class and its `forward`, and none of its
    hooks. So `without(model, "fc")` returns the features that "fc" reads, can be traced, copied and pickled, and lists
    exactly the parameters that it uses. A name of a parameter leaves that parameter out.
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
    """Return a module of the same class that shares parameters, buffers and submodules, without calling __init__."""
    base_attributes = nn.Module().__dict__  # hooks and registries: the view has its own, empty ones
    view = module.__class__.__new__(module.__class__)
    nn.Module.__init__(view)
    view.__dict__.update({key: value for key, value in module.__dict__.items() if key not in base_attributes})
    view._parameters = dict(module._parameters)
    view._buffers = module._buffers  # shared: a buffer that is replaced must change in both
    view._modules = dict(module._modules)
    view._non_persistent_buffers_set = module._non_persistent_buffers_set
    view.training = module.training
    return view


def classifier_inputs(model: nn.Module, name: str, path: str) -> int:
    """Return the number of features that the classifier at `path` of the model called `name` reads.

    A classifier is a linear layer, or a 1 x 1 convolution over pooled features, which computes the same. Raises
    BadChoice for anything else.
    """
    layer = model.get_submodule(path)
    if isinstance(layer, nn.Linear):
        return layer.in_features
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1:
        return layer.in_channels
    raise no_classifier(name)


def no_classifier(name: str) -> BadChoice:
    """Return the error for a model that cannot be given a new head."""
    problem = "it does not end in one linear layer, so a new head cannot take its place"
    return BadChoice(f"--model {name}", problem, fix="Choose another model.")


def drop_dropout(container: nn.Module, names: Iterable[str]) -> None:
    """Replace the dropouts among `names` in `container` by identities; no parameter changes its name."""
    for name in names:
        # Replaced, not removed: in a Sequential the names of later parameters are positions.
        if isinstance(container.get_submodule(name), nn.Dropout):
            container.add_module(name, nn.Identity())
