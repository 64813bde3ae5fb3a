"""WeightUpdateRatio finds steps that replace the weights, and steps that are lost in rounding."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Verdict
from clearsight.debugger.rules.weight_update_ratio import WeightUpdateRatio
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, noisy, tape
from tests.debugger.rules.nets import CONVS, facts, he, series, weights


def rule() -> WeightUpdateRatio:
    return WeightUpdateRatio()


def run(ratio: object, *, head: float = 0.01, loss: float = 2.0, points: int = 12, **more: object) -> Tape:
    level = np.broadcast_to(np.asarray(ratio, float), points)
    updates = {name: level * he(name) for name in CONVS} | {"fc.weight": flat(head * he("fc.weight"), points)}
    rate = more.pop("lr", flat(1e-3, 5 * points))
    return tape(
        loss=noisy(flat(loss, 5 * points)),
        lr=rate,
        statistics={"weights": weights(), "updates": series("update", updates, points)},
        every=5,
        context=facts(**more),
    )


def fault() -> Tape:
    return run(0.8)


def control() -> Tape:
    return run(np.geomspace(2e-2, 1e-4, 12))


def only(saved: Tape, **parameters: object) -> Finding:
    [finding] = WeightUpdateRatio.parse(parameters).check(saved)
    return finding


def test_found_when_a_step_replaces_the_weights() -> None:
    finding = only(fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.fix == {"lr": 1.2e-6}
    assert finding.subject in CONVS
    assert "replaced" in finding.cause


def test_found_when_updates_are_lost_in_rounding() -> None:
    finding = only(run(1e-8))
    assert finding.verdict is Verdict.FOUND
    assert finding.fix == {"lr": 1.0}
    assert "rounding" in finding.cause


def test_clear_in_the_healthy_range() -> None:
    assert only(control()).verdict is Verdict.CLEAR
    assert only(run(0.1)).verdict is Verdict.CLEAR
    assert only(run(1e-6)).verdict is Verdict.CLEAR


def test_a_head_that_starts_at_0_may_be_replaced() -> None:
    assert only(run(1e-3, head=50.0)).verdict is Verdict.CLEAR


def test_large_first_steps_that_calm_down_are_clear() -> None:
    assert only(run(np.r_[flat(2.0, 3), flat(0.01, 9)])).verdict is Verdict.CLEAR


def test_the_ends_of_the_schedule_do_not_count() -> None:
    rate = np.r_[flat(1e-3, 40), flat(1e-9, 20)]
    assert only(run(np.r_[flat(1e-3, 8), flat(1e-9, 4)], lr=rate)).verdict is Verdict.CLEAR


def test_small_updates_are_no_harm_where_the_loss_is_low() -> None:
    assert only(run(1e-8, loss=0.01)).verdict is Verdict.CLEAR


def test_sagemakers_parameters_are_the_thresholds() -> None:
    parameters = {"large_threshold": "10.0", "small_threshold": "0.00000001", "num_steps": "3", "epsilon": "1e-9"}
    assert only(fault(), **parameters).verdict is Verdict.CLEAR
    assert only(run(20.0), **parameters).verdict is Verdict.FOUND


def test_nan_in_the_series_changes_nothing() -> None:
    level = flat(1e-3, 12)
    level[5:8] = np.nan
    assert only(run(level)).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    finding = only(run(0.8, points=3))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (3, 5)
    assert only(Tape()).verdict is Verdict.NOT_ENOUGH_DATA
