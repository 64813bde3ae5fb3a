"""Scope of a rule: tensors by pattern and collection, also by SageMaker's names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clearsight.core.context import LayerInfo, RunContext
from clearsight.core.errors import BadValue
from clearsight.core.finding import Finding
from clearsight.core.rule import Needs
from clearsight.core.view import RunView
from clearsight.debugger.analysis.scope import ScopedRule, module_of, tensor_spellings
from clearsight.testing.tapes import tape


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
