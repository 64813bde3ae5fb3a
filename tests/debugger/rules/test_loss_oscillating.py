"""LossOscillating finds swings that are larger than the differences of batches by chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.finding import Verdict
from clearsight.debugger.rules.loss_oscillating import LossOscillating
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.rules.runs import CHANCE, batches, facts, only, with_predictions

STEPS = 100


def rule() -> LossOscillating:
    return LossOscillating()


def swinging(size: float = 1.0, steps: int = STEPS) -> Any:
    return 1.8 + size * np.sin(np.arange(steps) * 2.4)


def run(loss: Any, *, spread: float | None = 0.5, **more: Any) -> Tape:
    """Return a run. spread: of the losses of a batch's images; None for a run without saved predictions."""
    result = tape(loss=loss, lr=flat(3e-3, len(loss)), context=facts(steps=STEPS, **more))
    return result if spread is None else with_predictions(result, loss, spread=spread)


def fault() -> Tape:
    return run(swinging())


def control() -> Tape:
    return run(falling(CHANCE, 0.5, STEPS), spread=0.8)


def test_found_when_it_swings_beyond_chance() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.fix == {"lr": 1e-3}
    assert "drawing batches explains" in finding.cause


def test_clear_when_it_falls_with_the_noise_of_batches() -> None:
    assert only(rule(), control()).verdict is Verdict.CLEAR


def test_swings_explained_by_drawing_batches_are_clear() -> None:
    noise = batches(flat(1.8, STEPS), spread=0.6)
    assert only(rule(), run(noise, spread=2.4)).verdict is Verdict.CLEAR


def test_swings_that_shrink_are_clear() -> None:
    sizes = np.linspace(1.5, 0.1, STEPS)
    assert only(rule(), run(1.8 + sizes * np.sin(np.arange(STEPS) * 2.4))).verdict is Verdict.CLEAR


def test_small_swings_are_clear() -> None:
    assert only(rule(), run(swinging(0.1), spread=0.01)).verdict is Verdict.CLEAR


def test_without_predictions_a_larger_amplitude_is_needed() -> None:
    assert only(rule(), run(swinging(0.6), spread=None)).verdict is Verdict.CLEAR
    finding = only(rule(), run(swinging(2.0) + 1.0, spread=None))
    assert finding.found
    assert finding.confidence < 0.7


def test_single_outliers_change_nothing() -> None:
    loss = batches(falling(CHANCE, 0.5, STEPS))
    loss[[20, 60, 80, 95]] = 9.0
    assert only(rule(), run(loss)).verdict is Verdict.CLEAR


def test_nonfinite_values_are_left_out() -> None:
    loss = swinging()
    loss[10:13] = np.nan
    result = tape(loss=loss, lr=flat(3e-3, STEPS), context=facts(steps=STEPS))
    assert only(rule(), with_predictions(result, np.nan_to_num(loss, nan=1.0), spread=0.5)).found


def test_says_how_much_is_missing() -> None:
    finding = only(rule(), run(swinging(steps=15)))
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (15, 40)
