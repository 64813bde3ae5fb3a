"""A learning rate that fits follows from the optimizer, from what learns, and from the updates that were measured."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight.core.context import RunContext
from clearsight.debugger.analysis.learning_rates import (
    head_only,
    lowered_rate,
    optimizer_family,
    suitable_rate,
    usual_rate,
)
from clearsight.testing.tapes import flat, tape
from tests.debugger.rules.runs import CONV, FROZEN, HEAD, facts


def rate(ratio: float | None, lr: float, **more: Any) -> float:
    """The rate for a run whose first update at `lr` was `ratio` of the weights."""
    measured: dict[str, Any] = {} if ratio is None else {"update_ratio": flat(ratio, 3)}
    made = tape(loss=flat(2.3, 3), lr=flat(lr, 3), facts=facts(**more), **measured)
    return suitable_rate(made, below=lr) if lr > 1e-2 else suitable_rate(made, above=lr)


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", "adaptive"), ("RMSprop", "adaptive"), ("SGD", "gradient"), ("Rprop", ""), ("", "")]
)
def test_optimizers_are_of_two_kinds(name: str, kind: str) -> None:
    assert optimizer_family(RunContext(optimizer=name)) == kind


def test_usual_rates() -> None:
    assert usual_rate(RunContext(optimizer="adam")) == 1e-3
    assert usual_rate(RunContext(optimizer="sgd")) == 1e-2


def test_a_head_is_alone_where_nothing_else_learns() -> None:
    assert head_only(facts(parameters=(FROZEN, HEAD)))
    assert head_only(facts(cached=True, parameters=(HEAD,)))
    assert not head_only(facts(parameters=(CONV, HEAD)))
    assert not head_only(facts(parameters=(HEAD,)))
    assert not head_only(RunContext())


@pytest.mark.parametrize(("steps", "wanted"), [(60, 5e-3), (300, 2e-3), (10_000, 1e-3)])
def test_a_head_by_adam_needs_a_certain_reach(steps: int, wanted: float) -> None:
    assert rate(0.3, 5.0, cached=True, steps=steps) == wanted


def test_adam_moves_weights_by_two_hundredths_at_first() -> None:
    assert rate(2.0, 0.1) == 1e-3
    assert rate(None, 0.1) == 1e-3
    assert rate(1e-5, 0.1) == 3e-3
    assert rate(2e-5, 1e-6) == 1e-3


def test_weights_from_elsewhere_get_less() -> None:
    assert rate(0.1, 0.1, pretrained=True) == 1e-3
    assert rate(20.0, 0.1, pretrained=True) == 1e-4


def test_sgd_goes_by_its_own_update() -> None:
    assert rate(0.5, 5.0, optimizer="sgd") == 0.03
    assert rate(1e-6, 1e-5, optimizer="sgd") == 0.03
    assert rate(0.5, 5.0, optimizer="sgd", parameters=(FROZEN, HEAD)) == 0.1


def test_the_new_rate_really_is_another_one() -> None:
    made = tape(loss=flat(2.3, 3), lr=flat(1e-3, 3), facts=facts())
    assert suitable_rate(made, below=1e-3) == 1e-4
    assert suitable_rate(made, above=1e-3) == 1e-2
    assert suitable_rate(made, above=5.0) == 10.0


def test_a_rate_is_lowered_to_a_third_that_a_recipe_takes() -> None:
    assert lowered_rate(3e-3) == 1e-3
    assert lowered_rate(50.0) == 10.0
