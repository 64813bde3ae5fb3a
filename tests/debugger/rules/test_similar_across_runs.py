"""SimilarAcrossRuns compares this run with another one."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.errors import BadValue
from clearsight.core.finding import Severity, Verdict
from clearsight.debugger.rules.similar_across_runs import SimilarAcrossRuns
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, noisy, tape
from tests.debugger.rules.runs import only

STEPS = 40


def run(seed: int = 0, *, steps: int = STEPS, weight: float = 3.0) -> Tape:
    weights = {"weights": {"conv.weight": {"l2": [weight, weight + 0.1]}, "fc.weight": {"l2": [1.0, 1.1]}}}
    return tape(loss=noisy(falling(2.3, 0.4, steps), seed=seed), statistics=weights, every=10)


def rule() -> SimilarAcrossRuns:
    return SimilarAcrossRuns().with_other(run())


def fault() -> Tape:
    return run()


def control() -> Tape:
    return run(seed=1)


def test_found_when_nothing_changed() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.INFO
    assert finding.value == 0
    assert finding.steps == (1, STEPS)


def test_clear_when_the_runs_differ() -> None:
    assert only(rule(), control()).verdict is Verdict.CLEAR


def test_one_equal_or_different_step_changes_nothing() -> None:
    equal, different = run().scalar("loss").values.copy(), run(seed=1).scalar("loss").values.copy()
    equal[7], different[7] = 9.0, run().scalar("loss").values[7]
    assert only(rule(), tape(loss=equal)).found
    assert only(rule(), tape(loss=different)).verdict is Verdict.CLEAR


def test_runs_of_different_lengths_are_compared_where_both_are() -> None:
    saved = SimilarAcrossRuns().with_other(tape(loss=run().scalar("loss").values[:25]))
    assert only(saved, fault()).steps == (1, 25)


def test_tensors_are_compared_by_name() -> None:
    heads = SimilarAcrossRuns(tensor_regex="^fc").with_other(run(seed=1))
    assert only(heads, run(weight=9.0)).found
    everything = SimilarAcrossRuns(tensor_regex="conv").with_other(run())
    assert only(everything, run(weight=9.0)).verdict is Verdict.CLEAR
    nothing = SimilarAcrossRuns(tensor_regex="nowhere").with_other(run())
    assert only(nothing, run()).verdict is Verdict.NOT_ENOUGH_DATA


def test_nonfinite_values_are_left_out() -> None:
    loss = run().scalar("loss").values.copy()
    loss[3:6] = np.nan
    assert only(rule(), tape(loss=loss)).found


def test_not_enough_data_without_the_other_run() -> None:
    finding = only(SimilarAcrossRuns.parse({"other_trials": "runs/a"}), fault())
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.cause == "the other run is missing: runs/a"


def test_says_how_much_is_missing() -> None:
    finding = only(rule(), run(steps=4))
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (4, 10)


def test_holding_a_run_leaves_the_first_rule_as_it_was() -> None:
    empty = SimilarAcrossRuns()
    empty.with_other(run())
    assert only(empty, fault()).verdict is Verdict.NOT_ENOUGH_DATA


def test_it_must_be_selected_by_name() -> None:
    assert SimilarAcrossRuns.optional
    saved = SimilarAcrossRuns.parse({"other": "runs/a", "collection_names": "weights"})
    assert saved.parameters()["other_trials"] == "runs/a"
    with pytest.raises(BadValue):
        SimilarAcrossRuns.parse({"tensor_regex": "("})
