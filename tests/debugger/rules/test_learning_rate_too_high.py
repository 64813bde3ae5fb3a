"""LearningRateTooHigh needs damage: a loss above chance level, or updates as large as the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.errors import BadChoice
from clearsight.core.finding import Severity, Verdict
from clearsight.core.tensors import Event, Moment
from clearsight.debugger.rules.learning_rate_too_high import LearningRateTooHigh
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, noisy, tape
from tests.debugger.rules.runs import CHANCE, FROZEN, HEAD, batches, cosine, facts, only

STEPS = 60


def rule() -> LearningRateTooHigh:
    return LearningRateTooHigh()


def run(loss: Any, *, lr: Any = 0.1, ratio: Any = 0.02, known: RunContext | None = None, **more: Any) -> Tape:
    rates, ratios = lr * np.ones(len(loss)), ratio * np.ones(len(loss))
    return tape(
        loss=loss, lr=rates, update_ratio=ratios, context=known or facts(lr=float(rates.max()), steps=len(loss)), **more
    )


def blown_up() -> Any:
    return noisy(np.concatenate([[CHANCE], falling(40.0, 8.0, STEPS - 1)]), share=0.3)


def fault() -> Tape:
    return run(blown_up())


def control() -> Tape:
    return run(batches(falling(CHANCE, 0.4, STEPS)), lr=cosine(STEPS))


def test_found_when_the_loss_blows_up() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert finding.value is not None
    assert finding.value > 3
    assert finding.steps is not None
    assert finding.steps[0] <= 3
    assert "chance level is 2.30" in finding.cause


def test_found_as_soon_as_a_few_steps_show_it() -> None:
    assert only(rule(), fault().until(6)).found


def test_one_bad_batch_or_two_change_nothing() -> None:
    loss = batches(falling(CHANCE, 0.4, STEPS))
    loss[[10, 11]] = 90.0
    assert only(rule(), run(loss, lr=cosine(STEPS))).verdict is Verdict.CLEAR


def test_found_when_the_loss_stays_above_chance_level() -> None:
    assert only(rule(), run(batches(flat(4.5, STEPS)) - np.r_[2.2, np.zeros(STEPS - 1)])).found


def test_a_high_first_loss_is_not_the_rates_fault() -> None:
    assert only(rule(), run(noisy(falling(40.0, 20.0, STEPS)), lr=1e-3)).verdict is Verdict.CLEAR


def test_clear_on_a_healthy_run_at_every_moment() -> None:
    saved = control()
    assert {only(rule(), saved.until(step)).verdict for step in range(5, STEPS, 5)} == {Verdict.CLEAR}


def test_a_bump_in_the_warm_up_is_clear() -> None:
    loss = batches(falling(CHANCE, 0.4, STEPS))
    loss[3:10] *= 1.3
    assert only(rule(), run(loss, lr=cosine(STEPS))).verdict is Verdict.CLEAR


@pytest.mark.parametrize(("level", "severity"), [(0.1, Severity.INFO), (0.4, Severity.WARNING), (0.9, Severity.SEVERE)])
def test_a_rise_is_as_severe_as_what_it_leaves(level: float, severity: Severity) -> None:
    losses = np.r_[flat(CHANCE, 4), flat(4 * CHANCE, 6), flat(level * CHANCE, STEPS - 10)]
    assert only(rule(), run(batches(losses, spread=0.02))).severity is severity


def test_found_when_large_updates_teach_nothing() -> None:
    ratio = np.r_[flat(0.4, 6), falling(0.2, 0.001, STEPS - 6)]
    finding = only(rule(), run(batches(flat(CHANCE, STEPS), spread=0.03), ratio=ratio))
    assert finding.found
    assert finding.unit == "of the weights"
    assert "40%" in finding.cause


def test_large_updates_that_teach_are_clear() -> None:
    ratio = np.r_[flat(0.4, 6), falling(0.2, 0.001, STEPS - 6)]
    assert only(rule(), run(batches(falling(CHANCE, 0.3, STEPS)), lr=5e-3, ratio=ratio)).verdict is Verdict.CLEAR


def test_found_when_one_update_is_larger_than_the_weights() -> None:
    ratio = np.r_[flat(2.5, 8), flat(0.02, STEPS - 8)]
    finding = only(rule(), run(batches(falling(CHANCE, 0.3, STEPS)), lr=5e-3, ratio=ratio))
    assert finding.found
    assert finding.severity is Severity.WARNING


def test_a_new_head_may_leap_in_its_first_steps() -> None:
    ratio = np.r_[flat(5.0, 4), falling(0.3, 0.01, STEPS - 4)]
    assert only(rule(), run(batches(falling(CHANCE, 0.3, STEPS)), lr=5e-3, ratio=ratio)).verdict is Verdict.CLEAR


def test_a_loss_that_grows_until_it_is_infinite_is_found() -> None:
    loss = np.r_[flat(CHANCE, 3), 2.4, 9.0, flat(np.nan, 20)]
    finding = only(rule(), run(loss))
    assert finding.found
    assert "became NaN or infinite at step 6" in finding.cause


def test_a_sudden_nan_without_growth_is_clear() -> None:
    loss = np.r_[batches(falling(CHANCE, 1.0, 20)), flat(np.nan, 20)]
    assert only(rule(), run(loss, lr=1e-3)).verdict is Verdict.CLEAR


def test_a_broken_image_is_not_the_rates_fault() -> None:
    saved = run(np.r_[flat(CHANCE, 3), 2.4, 9.0, flat(np.nan, 20)])
    saved.add(Event(Moment("train", 6, 1, 6), "nonfinite", "inputs", {"where": "input"}))
    assert only(rule(), saved).verdict is Verdict.CLEAR


@pytest.mark.parametrize("steps", [100, 690])
def test_one_change_brings_a_head_to_a_usual_rate(steps: int) -> None:
    known = facts(lr=5.0, steps=steps, cached=True, parameters=(HEAD,))
    loss = noisy(np.r_[1.8, flat(80.0, 59)], share=0.3)
    fix = only(rule(), run(loss, lr=5.0, ratio=0.5, known=known)).fix
    assert 1e-3 <= fix["lr"] <= 5e-3


def test_a_head_behind_a_frozen_backbone_is_recognised_by_its_parameters() -> None:
    known = facts(lr=5.0, steps=120, parameters=(FROZEN, HEAD))
    assert only(rule(), run(blown_up(), lr=5.0, known=known)).fix == {"lr": 5e-3}


def test_with_sgd_the_measured_update_says_the_rate() -> None:
    known = facts(lr=5.0, steps=STEPS, optimizer="sgd")
    assert only(rule(), run(blown_up(), lr=5.0, ratio=0.5, known=known)).fix == {"lr": 0.03}


def test_pretrained_weights_get_at_most_a_thousandth() -> None:
    known = facts(lr=0.1, steps=STEPS, pretrained=True)
    assert only(rule(), run(blown_up(), ratio=0.01, known=known)).fix == {"lr": 1e-3}


def test_a_rate_that_jumps_is_named() -> None:
    loss = np.r_[batches(falling(CHANCE, 1.0, 40)), flat(60.0, 20)]
    finding = only(rule(), run(loss, lr=np.r_[flat(1e-3, 40), flat(1.0, 20)]))
    assert finding.advice == "The learning rate rose from 0.001 to 1 at step 41: check its schedule."
    assert finding.steps is not None
    assert 38 <= finding.steps[0] <= 42


def test_without_a_known_rate_there_is_advice() -> None:
    finding = only(rule(), tape(loss=blown_up(), context=facts(lr=0.0)))
    assert finding.found
    assert not finding.fix
    assert finding.advice


def test_says_how_much_is_missing() -> None:
    finding = only(rule(), tape(loss=[2.3, 2.2]))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (2, 5)


def test_a_run_without_a_finite_loss_is_not_judged() -> None:
    assert only(rule(), run(flat(np.nan, 20))).verdict is Verdict.NOT_ENOUGH_DATA


def test_long_runs_are_judged_in_the_same_way() -> None:
    steps = 20_000
    assert only(rule(), run(batches(falling(CHANCE, 0.1, steps)), lr=cosine(steps))).verdict is Verdict.CLEAR


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(BadChoice):
        LearningRateTooHigh.parse({"num_steps": "3"})
