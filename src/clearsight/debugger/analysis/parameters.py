"""Parameters that a run trains: the weights of layers, their sizes, and tables of statistics cut to some tensors.

A weight here is a matrix or a kernel of a convolution, a linear or an attention layer. Biases and the scales of norms
are left out: they start at 0 or 1, and behind a norm a bias has no gradient at all, without harm.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from clearsight.core.context import ParameterInfo, RunContext
from clearsight.core.view import Floats64, RunView, StatisticTable

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
