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
    queue.extend([(first, second), (third,)])
    assert start(queue) == [0, 1]
    queue.put_back((second,))
    assert (start(queue), start(queue)) == ([1], [2])
    assert not queue.waiting


def test_an_assignment_runs_from_its_start_to_its_end() -> None:
    queue = TrialQueue()
    queue.extend([(prepared(0).task,)])
    assignment = queue.start_next("/d", ("accuracy",), prunable=True)
    assert (assignment.data, assignment.metrics, assignment.prunable) == ("/d", ("accuracy",), True)
    assert (queue.running, queue.assignment(assignment.key)) == (1, assignment)
    assert queue.end(assignment.key) == assignment
    assert queue.running == 0


def test_no_two_assignments_have_the_same_key() -> None:
    queue = TrialQueue()
    queue.extend([(prepared(0).task,), (prepared(1).task,)])
    keys = [
        queue.start_next("/d", (), prunable=False).key,
        queue.new_key(),
        queue.start_next("/d", (), prunable=False).key,
    ]
    assert len(set(keys)) == 3


def test_clear_removes_only_what_waits() -> None:
    queue = TrialQueue()
    queue.extend([(prepared(0).task,), (prepared(1).task,)])
    start(queue)
    queue.clear()
    assert (queue.waiting, queue.running) == (False, 1)


def test_the_first_trial_with_a_digest_is_the_original() -> None:
    queue = TrialQueue()
    queue.remember(3, prepared(3, "a"))
    assert queue.register(4, prepared(4, "a"), 1) == 3
    assert queue.register(5, prepared(5, "b"), 1) == 5
    assert queue.register(6, prepared(6, "b"), 1) == 5


def test_duplicates_are_returned_once() -> None:
    queue = TrialQueue()
    for number in (4, 5):
        queue.wait_for(3, number)
    assert queue.duplicates(3) == [4, 5]
    assert queue.duplicates(3) == []


def test_attempts_are_counted_from_those_of_an_earlier_process() -> None:
    queue = TrialQueue()
    assert queue.attempts(0) == 1
    queue.register(0, prepared(0), 2)
    assert (queue.attempts(0), queue.next_attempt(0), queue.attempts(0)) == (2, 3, 3)
    assert queue.registered(0)
    assert not queue.registered(1)
    assert queue.epochs(0) == 5
