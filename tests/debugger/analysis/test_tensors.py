"""Tensors: the weights of layers, tables of their statistics, scopes by pattern, collection and SageMaker's names."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from clearsight.core.context import LayerInfo, ParameterInfo, RunContext
from clearsight.core.errors import BadValue
from clearsight.core.finding import Finding
from clearsight.core.rule import Needs
from clearsight.core.view import RunView
from clearsight.debugger.analysis.tensors import (
    ScopedRule,
    columns,
    fan_in,
    finite_median,
    he_std,
    layer_weights,
    module_of,
    rms,
    select_tensors,
    tensor_spellings,
    trailing,
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


@pytest.mark.parametrize(("mask", "count"), [([], 0), ([1, 0], 0), ([0, 1, 0, 1, 1], 2), ([1, 1], 2)])
def test_the_last_values_in_a_row_that_are_true(mask: list[int], count: int) -> None:
    assert trailing(np.array(mask, bool)) == count


class Any(ScopedRule):
    """Rule that finds nothing."""

    def needs(self) -> Needs:
        return Needs()

    def check(self, view: RunView) -> Iterator[Finding]:
        yield self.clear()


FACTS = RunContext(
    layers=(LayerInfo(name="layer1.0.relu", kind="relu", type="ReLU"), LayerInfo(name="2", kind="relu", type="ReLU"))
)


def test_without_a_scope_everything_matches() -> None:
    rule = Any()
    assert not rule.scoped
    assert rule.chosen_collections(("weights",)) == ("weights",)
    assert rule.matches("conv1.weight", FACTS)


@pytest.mark.parametrize("value", ["weights, gradients", ["weights", "gradients"]])
def test_collections_are_text_or_a_list(value: object) -> None:
    rule = Any.parse({"collection_names": value})
    assert isinstance(rule, Any)
    assert rule.chosen_collections(()) == ("weights", "gradients")


def test_sagemakers_patterns_of_activations_match() -> None:
    rule = Any.parse({"tensor_regex": ".*relu_output"})
    assert isinstance(rule, Any)
    assert rule.matches("activation/layer1.0.relu", FACTS)
    assert rule.matches("activation/2:1", FACTS)  # a member of a sequence has a number for a name
    assert not rule.matches("layer1.0.conv1.weight", FACTS)
    assert "layer1.0.relu_output_1" in tensor_spellings("activation/layer1.0.relu:1", FACTS)


def test_a_table_is_cut_to_the_scope() -> None:
    view = tape(loss=[1.0], statistics={"weights": {"a.weight": {"std": 1.0}, "b.weight": {"std": 2.0}}})
    rule = Any(tensors="^b")
    assert rule.scoped_statistic(view, "std", "weights").names == ("b.weight",)
    assert rule.scoped_statistic(view, "std", "weights").values.tolist() == [[2.0]]
    assert Any().scoped_statistic(view, "std", "weights").names == ("a.weight", "b.weight")


@pytest.mark.parametrize("name", ["activation/a.b", "activation/a.b:3"])
def test_the_module_of_an_activation(name: str) -> None:
    assert module_of(name) == "a.b"


def test_mistakes_are_named() -> None:
    with pytest.raises(BadValue, match="regular expression"):
        Any.parse({"tensors": "*"})
    with pytest.raises(BadValue, match="no such collection: gradient;"):
        Any.parse({"collections": "gradient"})
