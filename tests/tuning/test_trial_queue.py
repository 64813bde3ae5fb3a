"""TrialQueue: tasks that wait, assignments that run, duplicates and attempts."""

from __future__ import annotations

from clearsight.core.executor import TrialTask
from clearsight.tuning.trial_queue import PreparedTrial, TrialQueue


def prepared(number: int, digest: str = "") -> PreparedTrial:
    task = TrialTask(number=number, folder=f"/trials/{number}", recipe={})
    return PreparedTrial(task=task, epochs=5, digest=digest or str(number))


def start(queue: TrialQueue) -> list[int]:
    """Start the next assignment; return the numbers of its trials."""
    return [task.number for task in queue.start_next("/d", ("accuracy",), prunable=True).tasks]


def test_groups_start_in_order_and_what_is_put_back_first() -> None:
    queue = TrialQueue()
    first, second, third = (prepared(number).task for number in range(3))
    queue.waiting.extend([(first, second), (third,)])
    assert start(queue) == [0, 1]
    queue.waiting.appendleft((second,))
    assert (start(queue), start(queue)) == ([1], [2])
    assert not queue.waiting


def test_an_assignment_runs_from_its_start_to_its_end() -> None:
    queue = TrialQueue()
    queue.waiting.append((prepared(0).task,))
    assignment = queue.start_next("/d", ("accuracy",), prunable=True)
    assert (assignment.data, assignment.metrics, assignment.prunable) == ("/d", ("accuracy",), True)
    assert queue.running == {assignment.key: assignment}
    assert not queue.waiting


def test_no_two_assignments_have_the_same_key() -> None:
    queue = TrialQueue()
    queue.waiting.extend([(prepared(0).task,), (prepared(1).task,)])
    keys = [
        queue.start_next("/d", (), prunable=False).key,
        queue.new_key(),
        queue.start_next("/d", (), prunable=False).key,
    ]
    assert len(set(keys)) == 3


def test_the_first_trial_with_a_digest_is_the_original() -> None:
    queue = TrialQueue()
    queue.originals["a"] = 3
    assert queue.register(4, prepared(4, "a"), 1) == 3
    assert queue.register(5, prepared(5, "b"), 1) == 5
    assert queue.register(6, prepared(6, "b"), 1) == 5


def test_attempts_are_counted_from_those_of_an_earlier_process() -> None:
    queue = TrialQueue()
    assert queue.attempts[0] == 1
    queue.register(0, prepared(0), 2)
    assert queue.attempts[0] == 2
    assert queue.prepared == {0: prepared(0)}
