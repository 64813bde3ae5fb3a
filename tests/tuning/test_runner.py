"""A study is led from the first proposal to the last outcome, whatever dies on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.study import StudyPlan, StudyStatus
from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.searchers.grid import Grid
from clearsight.tuning.space_syntax import parse_space
from tests.tuning.leading import ENDED, Hands, led

# --- how it goes --------------------------------------------------------------------------------------------------


def test_as_many_trials_as_were_planned(tmp_path: Path) -> None:
    with led(tmp_path / "s") as study:
        assert study.run() == ENDED
        assert study.states() == ["complete"] * 5
        assert [trial.values for trial in study.trials()] == [(number / 100,) for number in range(5)]
        assert [trial.curve for trial in study.trials()] == [{1: 0.1, 2: 0.2, 3: n / 100} for n in range(5)]
        assert {(trial.worker, trial.planned, trial.attempts) for trial in study.trials()} == {(0, 3, 1)}


def test_as_many_at_a_time_as_there_are_workers(tmp_path: Path) -> None:
    with led(tmp_path / "s", Hands(slots=3)) as study:
        assert study.run() == ENDED
        begun = [said[1] for said in study.notes.said if said[0] == "trial"]
        first_result = next(at for at, said in enumerate(study.notes.said) if said[0] == "result")
        assert sorted(begun) == [0, 1, 2, 3, 4]
        assert [said[:2] for said in study.notes.said[:first_result] if said[0] == "trial"] == [
            ("trial", number) for number in (0, 1, 2)
        ]
        assert {trial.worker for trial in study.trials()} == {0, 1, 2}


def test_observers_hear_everything_in_order(tmp_path: Path) -> None:
    with led(tmp_path / "s", plan={"trials": 2}) as study:
        study.run()
        assert study.notes.said == [
            event
            for number in (0, 1)
            for event in (
                ("trial", number, 0),
                ("epoch", number, 1, 0.1),
                ("epoch", number, 2, 0.2),
                ("epoch", number, 3, number / 100),
                ("result", number, "complete"),
            )
        ]


def test_an_assignment_says_what_is_wanted(tmp_path: Path) -> None:
    with led(tmp_path / "s", pruner="median", plan={"trials": 1}) as study:
        study.run()
        (assignment,) = study.hands.given
        assert (assignment.data, assignment.metrics, assignment.told) == ("/d", ("accuracy",), True)
        assert assignment.tasks[0].recipe == study.trials()[0].params


def test_no_answer_is_due_where_nothing_is_pruned(tmp_path: Path) -> None:
    with led(tmp_path / "s", pruner="none") as study:
        study.run()
        assert not any(assignment.told for assignment in study.hands.given)
        assert study.hands.answers == {}


def test_what_is_behind_ends_with_a_reason(tmp_path: Path) -> None:
    hands = Hands(curve=lambda number: (0.1, 0.1, 0.1) if number == 6 else (0.8, 0.8, 0.8))
    with led(tmp_path / "s", hands, pruner="median", plan={"trials": 8}) as study:
        assert study.run() == ENDED
        assert study.states() == ["complete"] * 6 + ["pruned", "complete"]
        assert study.trials()[6].reason == "accuracy 0.1 after epoch 2 is behind the others"
        assert study.trials()[6].curve == {1: 0.1, 2: 0.1}


def test_heads_are_proposed_and_trained_together(tmp_path: Path) -> None:
    with led(tmp_path / "s", stack=3, plan={"trials": 7}) as study:
        assert study.run() == ENDED
        assert study.given() == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_grid_ends_when_it_is_done(tmp_path: Path) -> None:
    space = parse_space(["batch_size=[16,32,64]"])
    with led(tmp_path / "s", space=space, searcher=Grid(), stack=2, plan={"trials": 9}) as study:
        assert study.run() == ENDED
        assert [trial.params["batch_size"] for trial in study.trials()] == [16, 32, 64]


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_a_lost_trial_is_tried_again(tmp_path: Path) -> None:
    with led(tmp_path / "s", Hands(lost={1: 2}), plan={"trials": 3}) as study:
        assert study.run() == ENDED
        assert study.states() == ["complete"] * 3
        assert study.given() == [[0], [1], [1], [1], [2]]
        assert [trial.attempts for trial in study.trials()] == [1, 3, 1]
        trouble = [said[1] for said in study.notes.said if said[0] == "trouble"]
        assert trouble == ["trial 1: its worker was ended by SIGKILL; it is tried again"] * 2


def test_but_not_for_ever(tmp_path: Path) -> None:
    with led(tmp_path / "s", Hands(lost={1: 99}), plan={"trials": 3}) as study:
        assert study.run() == ENDED
        assert study.states() == ["complete", "failed", "complete"]
        assert study.given() == [[0], [1], [1], [1], [2]]
        lost = study.trials()[1]
        assert lost.reason == "its worker was ended by SIGKILL, 3 times; it last said: out of memory"
        assert lost.attempts == 3


def test_a_lost_stack_is_tried_head_by_head(tmp_path: Path) -> None:
    """Nobody knows which of them it was, and the others must not go down with it again."""
    with led(tmp_path / "s", Hands(lost={1: 99}), stack=3, plan={"trials": 6}) as study:
        assert study.run() == ENDED
        assert study.given() == [[0, 1, 2], [1], [1], [2], [3, 4, 5]]  # the first was through: its outcome is on disk
        assert study.states() == ["complete", "failed", *["complete"] * 4]
        assert [trial.attempts for trial in study.trials()] == [1, 3, 2, 1, 1, 1]


def test_an_outcome_whose_news_were_lost_is_on_disk(tmp_path: Path) -> None:
    with led(tmp_path / "s", Hands(tells=False), plan={"trials": 3}) as study:
        assert study.run() == ENDED
        assert study.given() == [[0], [1], [2]]  # nothing is done twice
        assert study.states() == ["complete"] * 3


def test_a_recipe_that_cannot_be_is_a_failed_trial(tmp_path: Path) -> None:
    with led(tmp_path / "s", wrong=lambda trial: trial.number == 1) as study:
        assert study.run() == ENDED
        assert study.states() == ["complete", "failed", *["complete"] * 3]
        assert study.trials()[1].reason == "--freeze layer9: there is no such stage."
        assert ("result", 1, "failed") in study.notes.said
        assert [1] not in study.given()


def test_an_objective_that_is_no_number_is_a_failed_trial(tmp_path: Path) -> None:
    hands = Hands(curve=lambda number: (0.1, math.nan) if number == 1 else (0.1, 0.2))
    with led(tmp_path / "s", hands) as study:
        assert study.run() == ENDED
        assert study.trials()[1].state is TrialState.FAILED
        assert study.trials()[1].reason == "an objective is no number (nan)"


def test_where_all_fail_alike_the_study_has_failed(tmp_path: Path) -> None:
    hands = Hands(fails=dict.fromkeys(range(99), "no memory"))
    with led(tmp_path / "s", hands, plan={"trials": 99}) as study:
        assert study.run() == (StudyStatus.FAILED, "every trial failed: no memory")
        assert study.states() == ["failed"] * 3


def test_where_no_recipe_can_be_the_study_has_failed(tmp_path: Path) -> None:
    with led(tmp_path / "s", wrong=lambda trial: True) as study:
        status, reason = study.run()
        assert (status, reason) == (StudyStatus.FAILED, "every trial failed: --freeze layer9: there is no such stage.")
        assert study.hands.given == []
        assert len(study.trials()) == 3  # nobody goes through all of them to find that out


# --- the same again -----------------------------------------------------------------------------------------------


def alike(trial: Trial) -> str:
    """Every second trial has the recipe of the one before it."""
    return str(trial.number // 2)


def test_the_same_recipe_is_answered_from_the_first(tmp_path: Path) -> None:
    with led(tmp_path / "s", digest=alike) as study:
        assert study.run() == ENDED
        assert study.given() == [[0], [2], [4]]
        trials = study.trials()
        assert [trial.same_as for trial in trials] == [None, 0, None, 2, None]
        assert trials[1].values == trials[0].values
        assert trials[1].curve == trials[0].curve
        assert (trials[1].seconds, trials[1].epochs, trials[1].planned) == (0.0, 0, 3)
        assert ("result", 1, "complete") in study.notes.said


def test_also_while_the_first_is_under_way(tmp_path: Path) -> None:
    with led(tmp_path / "s", Hands(slots=3), digest=alike, stack=5) as study:
        assert study.run() == ENDED
        assert study.given() == [[0, 2, 4]]
        assert [trial.same_as for trial in study.trials()] == [None, 0, None, 2, None]


def test_who_asks_one_that_fails_fails_with_it(tmp_path: Path) -> None:
    with led(tmp_path / "s", Hands(fails={0: "no memory"}), digest=alike, stack=5) as study:
        assert study.run() == ENDED
        first, second, *_ = study.trials()
        assert (first.reason, second.reason) == ("no memory", "no memory")
        assert second.state is TrialState.FAILED


def test_an_answer_is_found_after_reopening(tmp_path: Path) -> None:
    with led(tmp_path / "s", digest=lambda trial: "one") as study:
        study.run()
        assert study.given() == [[0]]
    with led(tmp_path / "s", digest=lambda trial: "one") as study:
        study.study.plan = StudyPlan.from_json({**study.study.plan.to_json(), "trials": 8})
        assert study.run() == ENDED
        assert study.given() == []
        assert [trial.same_as for trial in study.trials()] == [None, *[0] * 7]


# --- when it is enough --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "reason", "states"),
    [
        ({"target": 0.02}, "the target of 0.02 was reached by trial 2 (0.02)", ["complete"] * 3),
        ({"epoch_budget": 5}, "the budget of 5 epochs is spent (5 were trained)", ["complete", "pruned"]),
        ({"time_limit": 0.0}, "the time limit of 0 s was reached", []),
    ],
)
def test_a_limit_ends_it_early(tmp_path: Path, limit: dict[str, Any], reason: str, states: list[str]) -> None:
    with led(tmp_path / "s", plan={**limit, "trials": 50}) as study:
        assert study.run() == (StudyStatus.STOPPED_EARLY, reason)
        assert study.states() == states


def test_nothing_better_ends_it_early(tmp_path: Path) -> None:
    hands = Hands(curve=lambda number: (0.9 - number / 100,))
    with led(tmp_path / "s", hands, plan={"stop_after": 3, "trials": 50}) as study:
        reason = "3 trials in a row brought nothing better than trial 0"
        assert study.run() == (StudyStatus.STOPPED_EARLY, reason)
        assert study.states() == ["complete"] * 4


def test_those_under_way_end_with_the_study(tmp_path: Path) -> None:
    hands = Hands(slots=2, stay={1}, curve=lambda number: (0.9,))
    with led(tmp_path / "s", hands, plan={"target": 0.9}) as study:
        status, reason = study.run()
        assert (status, study.hands.interrupted) == (StudyStatus.STOPPED_EARLY, True)
        cut = study.trials()[1]
        assert (cut.state, cut.reason) == (TrialState.PRUNED, f"the study ended first: {reason}")
        assert cut.started > 0
        kept = study.ledger.folder(1).outcome()
        assert kept is not None
        assert kept.state is TrialState.PRUNED


def test_and_those_that_wait_for_their_answer_with_them(tmp_path: Path) -> None:
    hands = Hands(slots=2, stay={2}, curve=lambda number: (0.9,))
    same = {3: "2", 4: "2"}
    with led(
        tmp_path / "s", hands, digest=lambda trial: same.get(trial.number, str(trial.number)), plan={"target": 0.95}
    ) as study:
        study.hands.curve = lambda number: (0.99,) if number == 5 else (0.9,)
        study.study.plan = StudyPlan.from_json({**study.study.plan.to_json(), "trials": 6})
        status, _ = study.run()
        assert status is StudyStatus.STOPPED_EARLY
        assert study.states() == ["complete", "complete", "pruned", "pruned", "pruned", "complete"]
        assert [trial.same_as for trial in study.trials()] == [None, None, None, 2, 2, None]


def test_time_leaves_them_resumable(tmp_path: Path) -> None:
    clock = iter([0.0, 0.0, 0.0])
    with led(tmp_path / "s", Hands(stay={0}), plan={"time_limit": 60.0}) as study:
        study.conductor._seconds = lambda: next(clock, 61.0)  # type: ignore[method-assign]
        assert study.run() == (StudyStatus.STOPPED_EARLY, "the time limit of 60 s was reached")
        assert study.states() == ["running"]
        assert study.ledger.folder(0).outcome() is None


# --- stopped and gone on with -------------------------------------------------------------------------------------


def after(asked: int) -> Callable[[], str]:
    """Whoever asks so often is told to stop."""
    count = iter(range(asked))
    return lambda: "" if next(count, None) is not None else "Ctrl-C"


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("asked", [0, 1, 5, 10, 17])
def test_a_study_that_is_stopped_is_finished_by_another(tmp_path: Path, asked: int, stack: int) -> None:
    """Wherever it was stopped: no new numbers, no trial done twice, and the points are those of one never stopped."""
    with led(tmp_path / "whole", Hands(slots=2), stack=stack, plan={"trials": 8}) as study:
        assert study.run() == ENDED
        whole = [(trial.number, trial.params, trial.values) for trial in study.trials()]
    with led(tmp_path / "s", Hands(slots=2), stack=stack, plan={"trials": 8}, halt=after(asked)) as study:
        assert study.run() == (StudyStatus.INTERRUPTED, "Ctrl-C")
        done = {trial.number for trial in study.trials() if trial.state is TrialState.COMPLETE}
        assert {trial.state for trial in study.trials()} <= {TrialState.COMPLETE, TrialState.RUNNING}
    with led(tmp_path / "s", Hands(slots=2), stack=stack) as study:
        assert study.run() == ENDED
        assert [(trial.number, trial.params, trial.values) for trial in study.trials()] == whole
        assert not done & {number for numbers in study.given() for number in numbers}


def test_a_trial_that_was_lost_before_has_its_attempts_behind_it(tmp_path: Path) -> None:
    hands = Hands(lost={0: 2}, stay={0})
    with led(tmp_path / "s", hands, plan={"trials": 1}, halt=after(9)) as study:
        assert study.run()[0] is StudyStatus.INTERRUPTED
    with led(tmp_path / "s", Hands(lost={0: 9})) as study:
        assert study.run() == ENDED
        assert study.given() == [[0]]
        assert study.trials()[0].reason.startswith("its worker was ended by SIGKILL, 3 times")


def test_more_trials_can_be_asked_of_one_that_has_ended(tmp_path: Path) -> None:
    with led(tmp_path / "s", plan={"trials": 3}) as study:
        assert study.run() == ENDED
    with led(tmp_path / "s") as study:
        study.study.plan = StudyPlan.from_json({**study.study.plan.to_json(), "trials": 5})
        assert study.run() == ENDED
        assert study.given() == [[3], [4]]


# --- one more thing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("losses", [0, 2, 3])
def test_one_more_assignment_is_tried_as_often(tmp_path: Path, losses: int) -> None:
    with led(tmp_path / "s") as study:
        study.run()
        before = len(study.hands.given)
        study.hands.lost[0] = losses
        task = TrialTask(number=0, folder=str(tmp_path / "delivery"), recipe={})
        why = study.conductor.carry_out(
            lambda key: Assignment(key=key, tasks=(task,), data="/d", metrics=(), deliver=True)
        )
        assert why == ("its worker was ended by SIGKILL; it last said: out of memory" if losses == 3 else "")
        assert len(study.hands.given) - before == min(losses + 1, 3)
        assert len({assignment.key for assignment in study.hands.given}) == len(study.hands.given)
