"""StudyRunner: from the first proposal to the last result, whatever dies on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import StudyPlan, StudyStatus
from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.searchers.grid import Grid
from clearsight.tuning.space_syntax import parse_space
from tests.tuning.in_memory import COMPLETED, MemoryExecutor, memory_study

# --- trials and assignments -------------------------------------------------------------------------------------------


def test_runs_as_many_trials_as_planned(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s") as study:
        assert study.run() == COMPLETED
        assert study.states() == ["complete"] * 5
        assert [trial.values for trial in study.trials()] == [(number / 100,) for number in range(5)]
        assert [trial.curve for trial in study.trials()] == [{1: 0.1, 2: 0.2, 3: n / 100} for n in range(5)]
        assert {(trial.worker, trial.planned, trial.attempts) for trial in study.trials()} == {(0, 3, 1)}


def test_every_worker_has_a_trial(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", MemoryExecutor(slots=3)) as study:
        assert study.run() == COMPLETED
        started = [event[1] for event in study.log.events if event[0] == "trial"]
        first_result = next(index for index, event in enumerate(study.log.events) if event[0] == "result")
        assert sorted(started) == [0, 1, 2, 3, 4]
        assert [event[:2] for event in study.log.events[:first_result] if event[0] == "trial"] == [
            ("trial", number) for number in (0, 1, 2)
        ]
        assert {trial.worker for trial in study.trials()} == {0, 1, 2}


def test_observers_receive_all_events_in_order(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", plan={"trials": 2}) as study:
        study.run()
        assert study.log.events == [
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


def test_an_assignment_has_data_metrics_and_recipes(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", pruner="median", plan={"trials": 1}) as study:
        study.run()
        (assignment,) = study.executor.assignments
        assert (assignment.data, assignment.metrics, assignment.prunable) == ("/d", ("accuracy",), True)
        assert assignment.tasks[0].recipe == study.trials()[0].params


def test_without_a_pruner_epochs_get_no_reply(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", pruner="none") as study:
        study.run()
        assert not any(assignment.prunable for assignment in study.executor.assignments)
        assert study.executor.replies == {}


def test_a_pruned_trial_has_a_reason(tmp_path: Path) -> None:
    executor = MemoryExecutor(curve=lambda number: (0.1, 0.1, 0.1) if number == 6 else (0.8, 0.8, 0.8))
    with memory_study(tmp_path / "s", executor, pruner="median", plan={"trials": 8}) as study:
        assert study.run() == COMPLETED
        assert study.states() == ["complete"] * 6 + ["pruned", "complete"]
        assert study.trials()[6].reason == "accuracy 0.1 after epoch 2 is worse than that of the other trials"
        assert study.trials()[6].curve == {1: 0.1, 2: 0.1}


def test_a_batch_is_proposed_and_trained_together(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", stack=3, plan={"trials": 7}) as study:
        assert study.run() == COMPLETED
        assert study.assigned() == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_grid_ends_after_its_last_combination(tmp_path: Path) -> None:
    space = parse_space(["batch_size=[16,32,64]"])
    with memory_study(tmp_path / "s", space=space, searcher=Grid(), stack=2, plan={"trials": 9}) as study:
        assert study.run() == COMPLETED
        assert [trial.params["batch_size"] for trial in study.trials()] == [16, 32, 64]


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_trial_whose_worker_died_is_tried_again(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", MemoryExecutor(deaths={1: 2}), plan={"trials": 3}) as study:
        assert study.run() == COMPLETED
        assert study.states() == ["complete"] * 3
        assert study.assigned() == [[0], [1], [1], [1], [2]]
        assert [trial.attempts for trial in study.trials()] == [1, 3, 1]
        trouble = [event[1] for event in study.log.events if event[0] == "trouble"]
        assert trouble == ["trial 1: its worker was killed by SIGKILL; it is tried again"] * 2


def test_a_trial_fails_after_three_attempts(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", MemoryExecutor(deaths={1: 99}), plan={"trials": 3}) as study:
        assert study.run() == COMPLETED
        assert study.states() == ["complete", "failed", "complete"]
        assert study.assigned() == [[0], [1], [1], [1], [2]]
        lost = study.trials()[1]
        assert lost.reason == "its worker was killed by SIGKILL, in 3 attempts; end of its log: out of memory"
        assert lost.attempts == 3


def test_after_a_death_the_trials_of_a_stack_run_one_by_one(tmp_path: Path) -> None:
    """Nobody knows which trial killed the worker, and the others must not die with it again."""
    with memory_study(tmp_path / "s", MemoryExecutor(deaths={1: 99}), stack=3, plan={"trials": 6}) as study:
        assert study.run() == COMPLETED
        assert study.assigned() == [
            [0, 1, 2],
            [1],
            [1],
            [2],
            [3, 4, 5],
        ]  # the first one had ended: its result is on disk
        assert study.states() == ["complete", "failed", *["complete"] * 4]
        assert [trial.attempts for trial in study.trials()] == [1, 3, 2, 1, 1, 1]


def test_a_result_whose_message_was_lost_is_read_from_disk(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", MemoryExecutor(reports_end=False), plan={"trials": 3}) as study:
        assert study.run() == COMPLETED
        assert study.assigned() == [[0], [1], [2]]  # no trial runs twice
        assert study.states() == ["complete"] * 3


def test_values_that_make_no_recipe_fail_their_trial(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", invalid=lambda trial: trial.number == 1) as study:
        assert study.run() == COMPLETED
        assert study.states() == ["complete", "failed", *["complete"] * 3]
        assert study.trials()[1].reason == "--freeze layer9: no such stage."
        assert ("result", 1, "failed") in study.log.events
        assert [1] not in study.assigned()


def test_a_trial_whose_objective_is_nan_fails(tmp_path: Path) -> None:
    executor = MemoryExecutor(curve=lambda number: (0.1, math.nan) if number == 1 else (0.1, 0.2))
    with memory_study(tmp_path / "s", executor) as study:
        assert study.run() == COMPLETED
        assert study.trials()[1].state is TrialState.FAILED
        assert study.trials()[1].reason == "an objective is not a finite number (nan)"


def test_the_study_fails_after_three_failures_for_one_reason(tmp_path: Path) -> None:
    executor = MemoryExecutor(failures=dict.fromkeys(range(99), "no memory"))
    with memory_study(tmp_path / "s", executor, plan={"trials": 99}) as study:
        assert study.run() == (StudyStatus.FAILED, StopReason(StopKind.ALL_FAILED, "every trial failed: no memory"))
        assert study.states() == ["failed"] * 3


def test_the_study_fails_if_no_values_make_a_recipe(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", invalid=lambda trial: True) as study:
        status, stop = study.run()
        assert (status, stop and stop.text) == (
            StudyStatus.FAILED,
            "every trial failed: --freeze layer9: no such stage.",
        )
        assert study.executor.assignments == []
        assert len(study.trials()) == 3  # and not all five


@pytest.mark.parametrize(
    ("failures", "text"),
    [
        (["no memory"], "every trial failed: no memory"),
        (["no memory", "no memory"], "every trial failed: no memory"),
        (["no disk", "no memory", "no memory", "no net"], "every trial failed (2 of 4 for this reason): no memory"),
    ],
)
def test_a_study_whose_trials_all_failed_has_failed(tmp_path: Path, failures: list[str], text: str) -> None:
    executor = MemoryExecutor(slots=2, failures=dict(enumerate(failures)))
    with memory_study(tmp_path / "s", executor, plan={"trials": len(failures)}) as study:
        assert study.run() == (StudyStatus.FAILED, StopReason(StopKind.ALL_FAILED, text))


def test_objectives_that_are_all_nan_fail_the_study(tmp_path: Path) -> None:
    executor = MemoryExecutor(curve=lambda number: (math.nan,))
    with memory_study(tmp_path / "s", executor, plan={"trials": 2}) as study:
        status, stop = study.run()
        assert (status, stop and stop.kind) == (StudyStatus.FAILED, StopKind.ALL_FAILED)


def test_workers_that_all_died_fail_the_study(tmp_path: Path) -> None:
    executor = MemoryExecutor(deaths={0: 99, 1: 99})
    with memory_study(tmp_path / "s", executor, plan={"trials": 2}) as study:
        status, stop = study.run()
        assert status is StudyStatus.FAILED
        assert stop is not None
        assert "killed by SIGKILL, in 3 attempts" in stop.text


def test_a_trial_that_completed_or_was_pruned_lets_the_study_complete(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", MemoryExecutor(failures={0: "no memory"}), plan={"trials": 2}) as study:
        assert study.run() == COMPLETED


def test_a_failed_study_continues_with_more_trials(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", MemoryExecutor(failures={0: "no memory"}), plan={"trials": 1}) as study:
        assert study.run()[0] is StudyStatus.FAILED
    with memory_study(tmp_path / "s") as study:
        study.study.plan = study.study.plan.replace(trials=2)
        assert study.run() == COMPLETED
        assert study.states() == ["failed", "complete"]


def test_a_mistake_of_the_user_is_told_apart_from_other_failures(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", MemoryExecutor(failures={0: "died"}), invalid=lambda t: t.number == 1) as study:
        study.run()
        assert [trial.stop_kind for trial in study.trials()[:2]] == [StopKind.FAILURE, StopKind.MISTAKE]


# --- duplicates -------------------------------------------------------------------------------------------------------


def pairs(trial: Trial) -> str:
    """A digest by which every second trial is a duplicate of the one before it."""
    return str(trial.number // 2)


def test_a_duplicate_takes_the_result_of_its_original(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", digest=pairs) as study:
        assert study.run() == COMPLETED
        assert study.assigned() == [[0], [2], [4]]
        trials = study.trials()
        assert [trial.same_as for trial in trials] == [None, 0, None, 2, None]
        assert trials[1].values == trials[0].values
        assert trials[1].curve == trials[0].curve
        assert (trials[1].seconds, trials[1].epochs, trials[1].planned) == (0.0, 0, 3)
        assert ("result", 1, "complete") in study.log.events


def test_a_duplicate_waits_for_a_running_original(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", MemoryExecutor(slots=3), digest=pairs, stack=5) as study:
        assert study.run() == COMPLETED
        assert study.assigned() == [[0, 2, 4]]
        assert [trial.same_as for trial in study.trials()] == [None, 0, None, 2, None]


def test_the_duplicate_of_a_failed_trial_fails(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", MemoryExecutor(failures={0: "no memory"}), digest=pairs, stack=5) as study:
        assert study.run() == COMPLETED
        first, second, *_ = study.trials()
        assert (first.reason, second.reason) == ("no memory", "no memory")
        assert second.state is TrialState.FAILED


def test_originals_are_known_after_reopening(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", digest=lambda trial: "one") as study:
        study.run()
        assert study.assigned() == [[0]]
    with memory_study(tmp_path / "s", digest=lambda trial: "one") as study:
        study.study.plan = StudyPlan.from_json({**study.study.plan.to_json(), "trials": 8})
        assert study.run() == COMPLETED
        assert study.assigned() == []
        assert [trial.same_as for trial in study.trials()] == [None, *[0] * 7]


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "reason", "states"),
    [
        (
            {"target": 0.02},
            StopReason(StopKind.TARGET, "trial 2 reached the target of 0.02 (0.02)"),
            ["complete"] * 3,
        ),
        (
            {"epoch_budget": 5},
            StopReason(StopKind.EPOCH_BUDGET, "the budget of 5 epochs is used up (5 were trained)"),
            ["complete", "pruned"],
        ),
        ({"time_limit": 1e-9}, StopReason(StopKind.TIME_LIMIT, "the time limit of 1e-09 s was reached"), []),
    ],
)
def test_a_limit_ends_the_study(tmp_path: Path, limit: dict[str, Any], reason: StopReason, states: list[str]) -> None:
    with memory_study(tmp_path / "s", plan={**limit, "trials": 50}) as study:
        assert study.run() == (StudyStatus.STOPPED_EARLY, reason)
        assert study.states() == states


def test_trials_without_improvement_end_the_study(tmp_path: Path) -> None:
    executor = MemoryExecutor(curve=lambda number: (0.9 - number / 100,))
    with memory_study(tmp_path / "s", executor, plan={"stop_after": 3, "trials": 50}) as study:
        reason = StopReason(StopKind.NO_IMPROVEMENT, "3 trials in a row were no better than trial 0")
        assert study.run() == (StudyStatus.STOPPED_EARLY, reason)
        assert study.states() == ["complete"] * 4


def test_running_trials_are_pruned_with_the_study(tmp_path: Path) -> None:
    executor = MemoryExecutor(slots=2, endless={1}, curve=lambda number: (0.9,))
    with memory_study(tmp_path / "s", executor, plan={"target": 0.9}) as study:
        status, stop = study.run()
        assert stop is not None
        assert (status, study.executor.interrupted) == (StudyStatus.STOPPED_EARLY, True)
        pruned = study.trials()[1]
        assert (pruned.state, pruned.reason) == (TrialState.PRUNED, f"the study ended first: {stop.text}")
        assert pruned.stop_kind is StopKind.STUDY_ENDED
        assert pruned.started > 0
        written = study.store.folder(1).result()
        assert written is not None
        assert written.state is TrialState.PRUNED


def test_waiting_duplicates_are_pruned_with_their_original(tmp_path: Path) -> None:
    executor = MemoryExecutor(slots=2, endless={2}, curve=lambda number: (0.9,))
    originals = {3: "2", 4: "2"}
    with memory_study(
        tmp_path / "s",
        executor,
        digest=lambda trial: originals.get(trial.number, str(trial.number)),
        plan={"target": 0.95},
    ) as study:
        study.executor.curve = lambda number: (0.99,) if number == 5 else (0.9,)
        study.study.plan = StudyPlan.from_json({**study.study.plan.to_json(), "trials": 6})
        status, _ = study.run()
        assert status is StudyStatus.STOPPED_EARLY
        assert study.states() == ["complete", "complete", "pruned", "pruned", "pruned", "complete"]
        assert [trial.same_as for trial in study.trials()] == [None, None, None, 2, 2, None]


def test_the_time_limit_leaves_trials_resumable(tmp_path: Path) -> None:
    seconds = iter([0.0, 0.0, 0.0])
    with memory_study(tmp_path / "s", MemoryExecutor(endless={0}), plan={"time_limit": 60.0}) as study:
        study.runner._seconds = lambda: next(seconds, 61.0)  # type: ignore[method-assign]
        assert study.run() == (
            StudyStatus.STOPPED_EARLY,
            StopReason(StopKind.TIME_LIMIT, "the time limit of 60 s was reached"),
        )
        assert study.states() == ["running"]
        assert study.store.folder(0).result() is None


# --- interruption and continuation ------------------------------------------------------------------------------------


def after(calls: int) -> Callable[[], StopReason | None]:
    """A halt that stops the study once it was called so often."""
    count = iter(range(calls))
    return lambda: None if next(count, None) is not None else StopReason(StopKind.SIGNAL, "Ctrl-C")


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("calls", [0, 1, 5, 10, 17])
def test_a_stopped_study_ends_like_an_undisturbed_one(tmp_path: Path, calls: int, stack: int) -> None:
    """Wherever it was stopped: the same numbers and values, and no trial runs twice."""
    with memory_study(tmp_path / "undisturbed", MemoryExecutor(slots=2), stack=stack, plan={"trials": 8}) as study:
        assert study.run() == COMPLETED
        undisturbed = [(trial.number, trial.params, trial.values) for trial in study.trials()]
    with memory_study(
        tmp_path / "s", MemoryExecutor(slots=2), stack=stack, plan={"trials": 8}, halt=after(calls)
    ) as study:
        assert study.run() == (StudyStatus.INTERRUPTED, StopReason(StopKind.SIGNAL, "Ctrl-C"))
        complete = {trial.number for trial in study.trials() if trial.state is TrialState.COMPLETE}
        assert {trial.state for trial in study.trials()} <= {TrialState.COMPLETE, TrialState.RUNNING}
    with memory_study(tmp_path / "s", MemoryExecutor(slots=2), stack=stack) as study:
        assert study.run() == COMPLETED
        assert [(trial.number, trial.params, trial.values) for trial in study.trials()] == undisturbed
        assert not complete & {number for numbers in study.assigned() for number in numbers}


def test_attempts_of_an_earlier_process_count(tmp_path: Path) -> None:
    executor = MemoryExecutor(deaths={0: 2}, endless={0})
    with memory_study(tmp_path / "s", executor, plan={"trials": 1}, halt=after(9)) as study:
        assert study.run()[0] is StudyStatus.INTERRUPTED
    with memory_study(tmp_path / "s", MemoryExecutor(deaths={0: 9})) as study:
        assert study.run()[0] is StudyStatus.FAILED
        assert study.assigned() == [[0]]
        assert study.trials()[0].reason.startswith("its worker was killed by SIGKILL, in 3 attempts")


def test_a_completed_study_can_run_more_trials(tmp_path: Path) -> None:
    with memory_study(tmp_path / "s", plan={"trials": 3}) as study:
        assert study.run() == COMPLETED
    with memory_study(tmp_path / "s") as study:
        study.study.plan = StudyPlan.from_json({**study.study.plan.to_json(), "trials": 5})
        assert study.run() == COMPLETED
        assert study.assigned() == [[3], [4]]


# --- further assignments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("losses", [0, 2, 3])
def test_a_further_assignment_has_three_attempts(tmp_path: Path, losses: int) -> None:
    with memory_study(tmp_path / "s") as study:
        study.run()
        count_before = len(study.executor.assignments)
        study.executor.deaths[0] = losses
        task = TrialTask(number=0, folder=str(tmp_path / "delivery"), recipe={})
        reason = study.runner.run_assignment(
            lambda key: Assignment(key=key, tasks=(task,), data="/d", metrics=(), deliver=True)
        )
        assert reason == ("its worker was killed by SIGKILL; end of its log: out of memory" if losses == 3 else "")
        assert len(study.executor.assignments) - count_before == min(losses + 1, 3)
        assert len({assignment.key for assignment in study.executor.assignments}) == len(study.executor.assignments)
