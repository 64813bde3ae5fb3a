"""Parameters: the weights of layers and tables of their statistics."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from clearsight.core.context import LayerInfo, ParameterInfo, RunContext
from clearsight.debugger.analysis.parameters import (
    columns,
    fan_in,
    finite_median,
    he_std,
    layer_weights,
    rms,
    select_tensors,
    trained_weights,
)
from clearsight.testing.tapes import tape
from tests.debugger.rules.nets import CONVS, WEIGHTS, facts


def test_norms_biases_and_free_parameters_are_not_weights_of_layers() -> None:
    assert [parameter.name for parameter in layer_weights(facts())] == list(WEIGHTS)
    free = ParameterInfo(name="pos_embed", layer="", shape=(1, 9, 8), kind="weight", trainable=True, optimized=True)
    inner = ParameterInfo(
        name="a.in_proj_weight", layer="a", shape=(24, 8), kind="weight", trainable=True, optimized=True
    )
    known = RunContext(layers=(LayerInfo(name="fc", kind="linear", type="Linear"),), parameters=(free, inner))
    assert [parameter.name for parameter in layer_weights(known)] == ["a.in_proj_weight"]


def test_trained_weights_take_gradients_and_are_held_by_the_optimizer() -> None:
    assert [parameter.name for parameter in trained_weights(facts(frozen=CONVS[:5], unheld=CONVS[5:]))] == ["fc.weight"]
    assert len(trained_weights(facts(unheld=WEIGHTS, optimizer=""))) == len(WEIGHTS)


def test_fan_in_counts_the_inputs_of_one_output() -> None:
    first = layer_weights(facts())[0]
    assert fan_in(first) == 288
    assert he_std(first) == pytest.approx(math.sqrt(2 / 288))


def test_the_rms_of_a_tensor_is_that_of_its_elements() -> None:
    view = tape(loss=[1.0], statistics={"weights": {"a": {"mean": 3.0, "std": 4.0}, "b": {"std": 1.0}}})
    table = rms(view, "weights")
    assert table.values.tolist() == [[5.0, 1.0]]
    assert select_tensors(table, ["b"]).values.tolist() == [[1.0]]
    assert np.isnan(columns(table, ["c", "a"])[0, 0])
    assert columns(table, ["c", "a"])[0, 1] == 5.0


def test_the_median_leaves_out_nonfinite_values_without_a_warning() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, np.nan]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_column = finite_median(values, axis=0)
        assert by_column[0] == 2.0
        assert np.isnan(by_column[1])
        assert finite_median(values) == 2.0
        assert np.isnan(finite_median(np.array([])))
