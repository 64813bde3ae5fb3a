"""GradientsNotCleared finds gradients that remain from the step before, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.finding import Severity, Verdict
from clearsight.debugger.rules.gradients_not_cleared import GradientsNotCleared
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, noisy, tape


def rule() -> GradientsNotCleared:
    return GradientsNotCleared()


def fault(steps: int = 40) -> Tape:
    left = np.full(steps, np.nan)
    left[::5] = 0.3 + 0.1 * np.arange(len(left[::5]))
    left[0] = 0.0
    return tape(loss=noisy(falling(2.3, 1.5, steps)), stale_gradient=left)


def control(steps: int = 40) -> Tape:
    return tape(loss=noisy(falling(2.3, 0.5, steps)), stale_gradient=np.zeros(steps))


def test_found_when_a_gradient_remains() -> None:
    [finding] = rule().check(fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert finding.steps == (6, 36)
    assert "zero_grad" in finding.advice
    assert not finding.fix


def test_clear_when_cleared() -> None:
    [finding] = rule().check(control())
    assert finding.verdict is Verdict.CLEAR


def test_the_first_step_is_not_judged() -> None:
    values = np.zeros(20)
    values[0] = 5.0
    [finding] = rule().check(tape(loss=[1.0] * 20, stale_gradient=values))
    assert finding.verdict is Verdict.CLEAR


def test_a_loop_that_accumulates_on_purpose_now_and_then_is_clear() -> None:
    values = np.zeros(40)
    values[1::3] = 1.0
    [finding] = rule().check(tape(loss=[1.0] * 40, stale_gradient=values))
    assert finding.verdict is Verdict.CLEAR


def test_one_odd_step_changes_nothing() -> None:
    values = np.ones(40)
    values[7] = 0.0
    [finding] = rule().check(tape(loss=[1.0] * 40, stale_gradient=values))
    assert finding.verdict is Verdict.FOUND


def test_infinite_remaining_gradients_count() -> None:
    values = np.full(10, np.inf)
    [finding] = rule().check(tape(loss=[1.0] * 10, stale_gradient=values))
    assert finding.verdict is Verdict.FOUND
    assert all(np.isfinite(value) for value in finding.evidence[0].values)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_says_how_much_is_missing(steps: int) -> None:
    [finding] = rule().check(tape(loss=[1.0] * steps, stale_gradient=[1.0] * steps))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (max(0, steps - 1), 3)
