"""UnchangedTensor finds weights that the optimizer should train and does not change."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.debugger.rules.unchanged_tensor import UnchangedTensor
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, noisy, tape
from tests.debugger.rules.nets import CONVS, WEIGHTS, facts, series, weights


def rule() -> UnchangedTensor:
    return UnchangedTensor()


def run(updates: dict[str, object], *, loss: float = 1.0, points: int = 8, **more: object) -> Tape:
    levels = {name: flat(1e-5, points) for name in WEIGHTS} | updates
    rate = more.pop("lr", flat(1e-3, 40))
    return tape(
        loss=noisy(falling(2.3, loss, 40)),
        lr=rate,
        statistics={"weights": weights(), "updates": series("update", levels, points)},
        every=5,
        context=facts(**more),
    )


def fault() -> Tape:
    return run({"conv2.weight": flat(0.0, 8)})


def control() -> Tape:
    return run({})


def only(saved: Tape, **parameters: object) -> Finding:
    [finding] = UnchangedTensor.parse(parameters).check(saved)
    return finding


def test_found_when_a_trained_weight_rests() -> None:
    finding = only(fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.subject == "conv2.weight"
    assert finding.severity is Severity.WARNING
    assert finding.steps == (1, 35)


def test_severe_when_most_rest() -> None:
    finding = only(run({name: flat(0.0, 8) for name in WEIGHTS}))
    assert finding.severity is Severity.SEVERE
    assert "6 more" in finding.cause


def test_found_where_it_begins_to_rest() -> None:
    assert only(run({"conv2.weight": np.r_[flat(1e-5, 4), flat(0.0, 4)]})).steps == (20, 35)


def test_clear_when_all_move_by_however_little() -> None:
    assert only(control()).verdict is Verdict.CLEAR
    assert only(run({name: flat(1e-12, 8) for name in WEIGHTS})).verdict is Verdict.CLEAR


def test_frozen_weights_may_rest() -> None:
    assert only(run({name: flat(0.0, 8) for name in CONVS}, frozen=CONVS)).verdict is Verdict.CLEAR


def test_the_end_of_the_schedule_may_rest() -> None:
    late = {name: np.r_[flat(1e-5, 4), flat(0.0, 4)] for name in WEIGHTS}
    assert only(run(late, lr=np.r_[flat(1e-3, 18), flat(0.0, 22)])).verdict is Verdict.CLEAR


def test_a_run_that_has_converged_may_rest() -> None:
    assert only(run({name: flat(0.0, 8) for name in WEIGHTS}, loss=0.001)).verdict is Verdict.CLEAR


def test_one_step_that_was_left_out_changes_nothing() -> None:
    once = flat(1e-5, 8)
    once[-1] = 0.0
    assert only(run({"conv2.weight": once})).verdict is Verdict.CLEAR


def test_sagemakers_tolerances_are_accepted() -> None:
    tiny = run({"conv2.weight": flat(1e-9, 8)})
    parameters = {"num_steps": "3", "rtol": "1e-05", "atol": "1e-08", "equal_nan": "False"}
    assert only(tiny, **parameters).verdict is Verdict.FOUND
    assert only(tiny, num_steps="3").verdict is Verdict.CLEAR
    assert only(tiny, **parameters, tensor_regex="conv1").verdict is Verdict.CLEAR


def test_nan_in_the_series_is_no_rest() -> None:
    assert only(run({"conv2.weight": flat(np.nan, 8)})).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    finding = only(run({}, points=2))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (2, 3)
    assert only(Tape()).verdict is Verdict.NOT_ENOUGH_DATA
