"""What came of a trial is kept whole, and which was best is never in doubt."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.trial import (
    METRICS,
    SCORES,
    Objective,
    Trial,
    TrialResult,
    TrialState,
    best_trial,
    complete_trials,
    pareto_front,
    rank,
)

UP, DOWN = Objective("accuracy", "maximize"), Objective("loss", "minimize")


def trial(number: int, *values: float, state: TrialState = TrialState.COMPLETE, **facts: Any) -> Trial:
    return Trial(number=number, state=state, params={}, values=values, **facts)


def numbers(trials: list[Trial]) -> list[int]:
    return [one.number for one in trials]


def test_every_metric_says_which_way_is_better() -> None:
    assert set(METRICS.values()) == {"maximize", "minimize"}
    assert set(SCORES) <= set(METRICS)
    assert METRICS["accuracy"] == "maximize"
    assert METRICS["loss"] == "minimize"


def test_better_is_strictly_better() -> None:
    assert UP.better(0.9, 0.8)
    assert not UP.better(0.8, 0.8)
    assert DOWN.better(0.1, 0.2)
    assert not DOWN.better(math.nan, 0.2)


def test_the_best_is_the_first_of_equals() -> None:
    trials = [trial(0, 0.8), trial(1, 0.9), trial(2, 0.9)]
    best = best_trial(trials, UP)
    assert best is trials[1]
    assert best_trial(trials, DOWN) is trials[0]


def test_of_equal_values_the_lower_loss_is_best() -> None:
    losses = [0.9, 0.02, math.nan, 0.02]
    trials = [trial(number, 1.0, scores={"loss": loss}) for number, loss in enumerate(losses)]
    assert numbers(rank([*trials, trial(4, 1.0), trial(5, 0.99, scores={"loss": 0.0})], UP)) == [1, 3, 0, 2, 4, 5]
    assert best_trial(trials, UP) is trials[1]


def test_none_is_best_where_none_is_complete() -> None:
    assert best_trial([], UP) is None
    assert best_trial([trial(0, state=TrialState.PRUNED), trial(1, state=TrialState.RUNNING)], UP) is None


def test_what_is_no_number_is_never_best() -> None:
    trials = [trial(0, math.nan), trial(1, math.inf), trial(2, 0.1)]
    best = best_trial(trials, UP)
    assert best is trials[2]


def test_trials_of_an_earlier_study_are_not_of_this_one() -> None:
    trials = [trial(0, 0.99, source="earlier"), trial(1, 0.5)]
    assert numbers(complete_trials(trials)) == [1]
    assert trials[0].imported
    assert numbers(pareto_front(trials, [UP])) == [1]


def test_the_front_is_what_nothing_beats_in_all() -> None:
    trials = [trial(0, 0.9, 0.5), trial(1, 0.8, 0.2), trial(2, 0.8, 0.4), trial(3, 0.7, 0.3)]
    assert numbers(pareto_front(trials, [UP, DOWN])) == [0, 1]


def test_equals_are_on_the_front_together() -> None:
    trials = [trial(0, 0.9, 0.5), trial(1, 0.9, 0.5), trial(2, 0.9, 0.6)]
    assert numbers(pareto_front(trials, [UP, DOWN])) == [0, 1]


def test_the_front_of_one_objective_is_the_best() -> None:
    assert numbers(pareto_front([trial(0, 0.1), trial(1, 0.3), trial(2, 0.3)], [UP])) == [1, 2]


def test_an_answered_trial_trained_nothing() -> None:
    assert trial(1, 0.5, curve={1: 0.4, 2: 0.5}).epochs == 2
    assert trial(1, 0.5, curve={1: 0.4, 2: 0.5}, same_as=0).epochs == 0
    assert trial(1).epochs == 0


_reals = st.floats(-1e9, 1e9) | st.just(math.nan)
_scores = st.dictionaries(st.sampled_from(SCORES), _reals, max_size=3)


@given(
    number=st.integers(0, 10_000),
    state=st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED]),
    values=st.lists(_reals, max_size=3).map(tuple),
    reason=st.text(max_size=20),
    curve=st.dictionaries(st.integers(1, 100), _scores, max_size=4),
    scores=_scores,
    best_epoch=st.none() | st.integers(1, 100),
    seconds=st.floats(0, 1e6),
)
def test_an_outcome_comes_back_as_it_was_kept(**facts: Any) -> None:
    outcome = TrialResult(**facts)
    text = json.dumps(outcome.to_json(), allow_nan=False)  # strict JSON, for others to read
    assert repr(TrialResult.from_json(json.loads(text))) == repr(outcome)  # NaN is not equal to itself, but reads alike


def test_a_result_of_an_earlier_version_is_read() -> None:
    values = TrialResult(number=1, state=TrialState.COMPLETE, values=(0.5,), saved_seconds=2.5).to_json()
    values["spared_seconds"] = values.pop("saved_seconds")
    del values["stop_kind"]
    assert TrialResult.from_json(values).saved_seconds == 2.5
