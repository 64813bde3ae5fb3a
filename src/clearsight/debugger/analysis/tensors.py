"""Tensors that rules judge: the weights that a run trains, tables of statistics, and the scope of a rule.

A weight here is a matrix or a kernel of a convolution, a linear or an attention layer. Biases and the scales of norms
are left out: they start at 0 or 1, and behind a norm a bias has no gradient at all, without harm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, field_validator

from clearsight.core.context import ParameterInfo, RunContext
from clearsight.core.rule import Rule
from clearsight.core.settings import setting
from clearsight.core.tensors import COLLECTIONS
from clearsight.core.view import Curve, Floats64, RunView, StatisticTable

DEFAULT_COLLECTIONS = ("weights", "gradients", "activations")
_ACTIVATION = "activation/"
_WEIGHTED_KINDS = ("conv", "linear", "attention")
# An attention layer with children is no leaf module, so its projections are found by their names.
_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def layer_weights(context: RunContext) -> tuple[ParameterInfo, ...]:
    """Return the weights of layers, frozen ones too, in the order of the model."""
    kinds = {layer.name: layer.kind for layer in context.layers}
    return tuple(
        parameter
        for parameter in context.parameters
        if len(parameter.shape) > 1
        and (kinds.get(parameter.layer) in _WEIGHTED_KINDS or parameter.name.endswith(_PROJECTIONS) or not kinds)
    )


def trained_weights(context: RunContext) -> tuple[ParameterInfo, ...]:
    """Return the weights of layers that training is meant to change."""
    return tuple(parameter for parameter in layer_weights(context) if is_trained(parameter, context))


def is_trained(parameter: ParameterInfo, context: RunContext) -> bool:
    """Return True if the parameter takes gradients and the optimizer, where one is watched, holds it."""
    return parameter.trainable and (parameter.optimized or not context.optimizer)


def weight_sizes(view: RunView) -> Curve:
    """Return the L2 norm of all weights together over the saved steps, up to the first weight that is not finite."""
    table, lost = view.statistic("l2", "weights"), [view.statistic(name, "weights").values for name in ("nan", "inf")]
    if not len(table):
        return Curve(table.steps, table.epochs, np.zeros(0))
    # Sizes are those of the finite elements: weights that became NaN would seem to have shrunk to nothing.
    finite = np.logical_and.accumulate(np.nansum(lost, axis=(0, 2)) == 0)
    sizes = np.sqrt(np.nansum(np.square(table.values[finite]), axis=1))
    return Curve(table.steps[finite], table.epochs[finite], sizes)


def fan_in(parameter: ParameterInfo) -> int:
    """Return the inputs of one output: the product of all sizes but the first. He et al. 2015, section 2.2."""
    return math.prod(parameter.shape[1:])


def he_std(parameter: ParameterInfo) -> float:
    """Return the standard deviation that keeps the variance of activations constant. He et al. 2015, eq. 10."""
    return math.sqrt(2 / max(fan_in(parameter), 1))


def select_tensors(table: StatisticTable, names: Collection[str]) -> StatisticTable:
    """Return the table's columns of these tensors, in the table's order."""
    selected = set(names)
    indices = [i for i, name in enumerate(table.names) if name in selected]
    return replace(table, names=tuple(table.names[i] for i in indices), values=table.values[:, indices])


def select_steps(table: StatisticTable, mask: npt.NDArray[np.bool_]) -> StatisticTable:
    """Return the table's rows where `mask` (S,) is True."""
    return StatisticTable(table.steps[mask], table.epochs[mask], table.names, table.values[mask])


def rms(view: RunView, collection: str) -> StatisticTable:
    """Return the root mean square of the elements of each tensor, (S, L): comparable between tensors of any size.

    It follows from mean and standard deviation, so that it is the same for a tensor that was sampled.
    """
    mean, std = view.statistic("mean", collection), view.statistic("std", collection)
    with np.errstate(over="ignore"):
        return replace(std, values=np.sqrt(np.square(mean.values) + np.square(std.values)))


def columns(table: StatisticTable, names: Collection[str]) -> Floats64:
    """Return values (S, len(names)) in the order of `names`; NaN where the table has no such tensor."""
    index = {name: i for i, name in enumerate(table.names)}
    values = np.full((len(table), len(names)), np.nan)
    for column, name in enumerate(names):
        if name in index:
            values[:, column] = table.values[:, index[name]]
    return values


def trailing(mask: npt.NDArray[np.bool_]) -> int:
    """Return how many of the last values of a mask (S,) in a row are True."""
    return len(mask) if mask.all() else int(np.argmin(mask[::-1]))


def finite_median(values: Floats64, axis: int | None = None) -> Floats64:
    """Return the median of the values that are finite; NaN, without a warning, where none is."""
    finite = np.where(np.isfinite(values), values, np.nan)
    empty = np.all(np.isnan(finite), axis=axis)
    if not finite.size:
        return np.full(np.shape(empty), np.nan)
    filled = np.where(np.all(np.isnan(finite), axis=axis, keepdims=True), 0.0, finite)
    return np.where(empty, np.nan, np.nanmedian(filled, axis=axis))


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

    def chosen_collections(self, default: Sequence[str] = DEFAULT_COLLECTIONS) -> tuple[str, ...]:
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
