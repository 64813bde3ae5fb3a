"""Scope of a rule: the tensors that it judges, chosen by a pattern and by collections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, field_validator

from clearsight.core.context import RunContext
from clearsight.core.rule import Rule
from clearsight.core.settings import setting
from clearsight.core.tensors import COLLECTIONS
from clearsight.core.view import RunView, StatisticTable
from clearsight.debugger.analysis.parameters import select_tensors

_ACTIVATION = "activation/"


def _compiling(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error})") from None
    return pattern


Pattern: TypeAlias = Annotated[str, AfterValidator(_compiling)]  # text that is a regular expression


class ScopedRule(Rule):
    """A rule whose tensors can be chosen with the parameters `tensors` and `collections`."""

    tensors: Pattern = setting(
        "", "only tensors with a match of this regular expression in their name", aliases=("tensor_regex",)
    )
    collections: str = setting(
        "", "only tensors of these collections, separated by commas", aliases=("collection_names",)
    )

    @field_validator("collections", mode="before")
    @classmethod
    def _are_collections(cls, names: object) -> str:
        words = names.split(",") if isinstance(names, str) else names if isinstance(names, (list, tuple)) else [names]
        collections = [str(word).strip() for word in words if str(word).strip()]
        if unknown := [word for word in collections if word not in COLLECTIONS]:
            raise ValueError(f"no such collection: {unknown[0]}; allowed: {', '.join(COLLECTIONS)}")
        return ",".join(collections)

    @property
    def scoped(self) -> bool:
        """Return True if the tensors were chosen by a parameter."""
        return bool(self.tensors or self.collections)

    def chosen_collections(self, default: Sequence[str]) -> tuple[str, ...]:
        """Return the collections that were chosen, else the default ones."""
        return tuple(self.collections.split(",")) if self.collections else tuple(default)

    def matches(self, name: str, context: RunContext) -> bool:
        """Return True if the pattern, where there is one, matches a spelling of the tensor's name."""
        return not self.tensors or any(re.search(self.tensors, text) for text in tensor_spellings(name, context))

    def scoped_statistic(self, view: RunView, statistic: str, collection: str) -> StatisticTable:
        """Return a statistic of the collection's tensors that are in scope."""
        table = view.statistic(statistic, collection)
        if not self.tensors:
            return table
        return select_tensors(table, [name for name in table.names if self.matches(name, view.context)])


def module_of(name: str) -> str:
    """Return the module whose output an activation is: `layer1.0.relu` of `activation/layer1.0.relu:1`."""
    return name.removeprefix(_ACTIVATION).rsplit(":", 1)[0]


def tensor_spellings(name: str, context: RunContext) -> tuple[str, ...]:
    """Return a tensor's name and, for an activation, SageMaker Debugger's names: `layer1.0.relu_output_0`.

    SageMaker's patterns (`.*relu_output`, `.*tanh_input`) go by the attribute's name and miss the members of a
    sequence, which are numbered; the layer's class is therefore taken as a further name of them.
    """
    if not name.startswith(_ACTIVATION):
        return (name,)
    module, call = module_of(name), name.rsplit(":", 1)[1] if ":" in name else "0"
    types = {layer.name: layer.type.lower() for layer in context.layers}
    stems = (module, f"{module}.{types[module]}") if types.get(module) else (module,)
    return (name, *(f"{stem}_{side}_{call}" for stem in stems for side in ("output", "input")))
