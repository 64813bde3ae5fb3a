"""Scope: which tensors a rule looks at, by a pattern and by collections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import field_validator

from clearsight.core.context import RunContext
from clearsight.core.rule import Rule
from clearsight.core.settings import setting
from clearsight.core.tensors import COLLECTIONS
from clearsight.core.view import RunView, StatisticTable

_ACTIVATION = "activation/"


class ScopedRule(Rule):
    """A rule that can be told which tensors to look at."""

    tensors: str = setting(
        "", "only tensors with a match of this regular expression in their name", aliases=("tensor_regex",)
    )
    collections: str = setting(
        "", "only tensors of these collections, separated by commas", aliases=("collection_names",)
    )

    @field_validator("tensors")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"it is no regular expression ({error})") from None
        return pattern

    @field_validator("collections", mode="before")
    @classmethod
    def _are_collections(cls, names: object) -> str:
        words = names.split(",") if isinstance(names, str) else names if isinstance(names, (list, tuple)) else [names]
        wanted = [str(word).strip() for word in words if str(word).strip()]
        if unknown := [word for word in wanted if word not in COLLECTIONS]:
            raise ValueError(f"there is no collection {unknown[0]}; there are {', '.join(COLLECTIONS)}")
        return ",".join(wanted)

    @property
    def scoped(self) -> bool:
        """Whether it was told which tensors to look at."""
        return bool(self.tensors or self.collections)

    def within(self, usual: Sequence[str]) -> tuple[str, ...]:
        """The collections to look at: those it was told, else the usual ones."""
        return tuple(self.collections.split(",")) if self.collections else tuple(usual)

    def wants(self, name: str, facts: RunContext) -> bool:
        """Whether the pattern, where there is one, matches a spelling of the tensor's name."""
        return not self.tensors or any(re.search(self.tensors, spelling) for spelling in spellings(name, facts))

    def wanted(self, view: RunView, statistic: str, collection: str) -> StatisticTable:
        """A statistic of the collection's tensors that are in scope."""
        table = view.statistic(statistic, collection)
        if not self.tensors:
            return table
        keep = np.array([self.wants(name, view.facts) for name in table.names], bool)
        names = tuple(name for name, kept in zip(table.names, keep, strict=True) if kept)
        return replace(table, names=names, values=table.values[:, keep])


def module_of(name: str) -> str:
    """The module whose output an activation is: `layer1.0.relu` of `activation/layer1.0.relu:1`."""
    return name.removeprefix(_ACTIVATION).rsplit(":", 1)[0]


def spellings(name: str, facts: RunContext) -> tuple[str, ...]:
    """A tensor's name and, for an activation, those that SageMaker's Debugger gives it: `layer1.0.relu_output_0`.

    Its patterns (`.*relu_output`, `.*tanh_input`) go by the attribute's name and miss the members of a sequence, which
    are called by numbers; the layer's class is taken as a further name of them.
    """
    if not name.startswith(_ACTIVATION):
        return (name,)
    module, call = module_of(name), name.rsplit(":", 1)[1] if ":" in name else "0"
    types = {layer.name: layer.type.lower() for layer in facts.layers}
    stems = (module, f"{module}.{types[module]}") if types.get(module) else (module,)
    return (name, *(f"{stem}_{side}_{call}" for stem in stems for side in ("output", "input")))
