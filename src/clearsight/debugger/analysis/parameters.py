"""What a run trains, beside the statistics of it: the weights of layers, their sizes, tables cut to some tensors.

A weight here is a matrix or a kernel of a convolution, a linear or an attention layer. Biases and the scales of norms
are left out of it: they start at 0 or 1, and behind a norm a bias has no gradient at all, without harm.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from clearsight.core.context import ParameterInfo, RunContext
from clearsight.core.view import RunView, StatisticTable

Floats = npt.NDArray[np.float64]

_WITH_WEIGHTS = ("conv", "linear", "attention")
_PROJECTIONS = (
    "in_proj_weight",
    "q_proj_weight",
    "k_proj_weight",
    "v_proj_weight",
)  # of an attention that has children


def layer_weights(facts: RunContext) -> tuple[ParameterInfo, ...]:
    """The weights of layers, frozen ones too, in the order of the model."""
    kinds = {layer.name: layer.kind for layer in facts.layers}
    return tuple(
        parameter
        for parameter in facts.parameters
        if len(parameter.shape) > 1
        and (kinds.get(parameter.layer) in _WITH_WEIGHTS or parameter.name.endswith(_PROJECTIONS) or not kinds)
    )


def trained_weights(facts: RunContext) -> tuple[ParameterInfo, ...]:
    """Those weights that training is meant to change."""
    return tuple(parameter for parameter in layer_weights(facts) if is_trained(parameter, facts))


def is_trained(parameter: ParameterInfo, facts: RunContext) -> bool:
    """Whether the parameter takes gradients and the optimizer, where one is watched, holds it."""
    return parameter.trainable and (parameter.optimized or not facts.optimizer)


def fan_in(parameter: ParameterInfo) -> int:
    """Inputs of one output: the product of the sizes behind the first. He et al. 2015, section 2.2."""
    return math.prod(parameter.shape[1:])


def he_std(parameter: ParameterInfo) -> float:
    """Standard deviation that keeps the variance of activations from layer to layer. He et al. 2015, eq. 10."""
    return math.sqrt(2 / max(fan_in(parameter), 1))


def select_tensors(table: StatisticTable, names: Collection[str]) -> StatisticTable:
    """The table's columns of these tensors, in the table's order."""
    wanted = set(names)
    keep = [i for i, name in enumerate(table.names) if name in wanted]
    return replace(table, names=tuple(table.names[i] for i in keep), values=table.values[:, keep])


def select_steps(table: StatisticTable, steps: npt.NDArray[np.bool_]) -> StatisticTable:
    """The table's rows where `steps` (S,) says so."""
    return StatisticTable(table.steps[steps], table.epochs[steps], table.names, table.values[steps])


def rms(view: RunView, collection: str) -> StatisticTable:
    """Root mean square of the elements of each tensor, (S, L): of one scale whatever the tensor's size.

    From mean and standard deviation, so that it is the same for a tensor that was looked at through a sample.
    """
    mean, std = view.statistic("mean", collection), view.statistic("std", collection)
    with np.errstate(over="ignore"):
        return replace(std, values=np.sqrt(np.square(mean.values) + np.square(std.values)))


def columns(table: StatisticTable, names: Collection[str]) -> Floats:
    """Values (S, len(names)) in the order of `names`; NaN where the table has no such tensor."""
    place = {name: i for i, name in enumerate(table.names)}
    values = np.full((len(table), len(names)), np.nan)
    for column, name in enumerate(names):
        if name in place:
            values[:, column] = table.values[:, place[name]]
    return values


def finite_median(values: Floats, axis: int | None = None) -> Floats:
    """Median of the values that are finite; NaN, without a warning, where none is."""
    finite = np.where(np.isfinite(values), values, np.nan)
    empty = np.all(np.isnan(finite), axis=axis)
    if not finite.size:
        return np.full(np.shape(empty), np.nan)
    filled = np.where(np.all(np.isnan(finite), axis=axis, keepdims=True), 0.0, finite)
    return np.where(empty, np.nan, np.nanmedian(filled, axis=axis))
