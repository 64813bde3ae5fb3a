"""A suitable learning rate follows from the optimizer, from the trained layers, and from the measured updates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.debugger.analysis.learning_rates import (
    above_low_rate,
    head_only,
    lower_rate_fix,
    lowered_rate,
    peak_learning_rate,
    suitable_rate,
)
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, tape
from tests.debugger.rules.runs import CONV, FROZEN, HEAD, facts


def rate(ratio: float | None, lr: float, **more: Any) -> float:
    """Return the rate for a run whose first update at `lr` was `ratio` of the weights."""
    measured: dict[str, Any] = {} if ratio is None else {"update_ratio": flat(ratio, 3)}
    run = tape(loss=flat(2.3, 3), lr=flat(lr, 3), context=facts(**more), **measured)
    return suitable_rate(run, below=lr) if lr > 1e-2 else suitable_rate(run, above=lr)


def test_only_the_head_learns_behind_a_frozen_backbone_or_cached_features() -> None:
    assert head_only(facts(parameters=(FROZEN, HEAD)))
    assert head_only(facts(cached=True, parameters=(HEAD,)))
    assert not head_only(facts(parameters=(CONV, HEAD)))
    assert not head_only(facts(parameters=(HEAD,)))
    assert not head_only(RunContext())


@pytest.mark.parametrize(("steps", "expected"), [(60, 5e-3), (300, 2e-3), (10_000, 1e-3)])
def test_the_rate_of_a_head_by_adam_follows_from_its_steps(steps: int, expected: float) -> None:
    assert rate(0.3, 5.0, cached=True, steps=steps) == expected


def test_adam_should_move_weights_by_two_percent_at_first() -> None:
    assert rate(2.0, 0.1) == 1e-3
    assert rate(None, 0.1) == 1e-3
    assert rate(1e-5, 0.1) == 3e-3
    assert rate(2e-5, 1e-6) == 1e-3


def test_pretrained_weights_get_a_lower_rate() -> None:
    assert rate(0.1, 0.1, pretrained=True) == 1e-3
    assert rate(20.0, 0.1, pretrained=True) == 1e-4


def test_the_rate_of_sgd_follows_from_its_measured_update() -> None:
    assert rate(0.5, 5.0, optimizer="sgd") == 0.03
    assert rate(1e-6, 1e-5, optimizer="sgd") == 0.03
    assert rate(0.5, 5.0, optimizer="sgd", parameters=(FROZEN, HEAD)) == 0.1


def test_the_new_rate_is_clearly_another_one() -> None:
    run = tape(loss=flat(2.3, 3), lr=flat(1e-3, 3), context=facts())
    assert suitable_rate(run, below=1e-3) == 1e-4
    assert suitable_rate(run, above=1e-3) == 1e-2
    assert suitable_rate(run, above=5.0) == 10.0


def test_a_rate_is_lowered_to_a_third_within_the_range_of_a_recipe() -> None:
    assert lowered_rate(3e-3) == 1e-3
    assert lowered_rate(50.0) == 10.0


def test_the_ends_of_a_schedule_are_below_the_low_rate() -> None:
    rates = np.r_[0.0, 1e-5, flat(1e-3, 5), 1e-5, 0.0]
    run = tape(loss=flat(1.0, 9), lr=rates)
    assert peak_learning_rate(run) == 1e-3
    assert above_low_rate(run, np.arange(1, 10)).tolist() == [False, False, *[True] * 5, False, False]


def test_without_a_saved_rate_all_steps_count() -> None:
    run = tape(loss=flat(1.0, 3), context=RunContext(lr=0.1))
    assert above_low_rate(run, np.array([1, 2])).all()
    assert peak_learning_rate(run) == 0.1


def test_a_fix_needs_a_known_rate() -> None:
    assert lower_rate_fix(tape(loss=[1.0], lr=[3e-3])) == {"lr": 3e-4}
    assert lower_rate_fix(tape(loss=[1.0], lr=[1e-4], context=RunContext(lr=3e-3))) == {"lr": 3e-4}
    assert lower_rate_fix(Tape()) == {}
