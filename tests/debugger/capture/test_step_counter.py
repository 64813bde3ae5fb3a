"""Clock: steps are counted, epochs told, planned or inferred."""

from __future__ import annotations

from clearsight.debugger.capture.step_counter import StepCounter


def train(clock: StepCounter, steps: int) -> list[int]:
    epochs = []
    for _ in range(steps):
        clock.begin()
        epochs.append(clock.epoch)
        clock.end()
    return epochs


def test_steps_count_from_one() -> None:
    clock = StepCounter()
    assert clock.begin() == 1
    assert clock.open
    clock.end()
    assert (clock.done, clock.open, clock.begin()) == (1, False, 2)


def test_an_evaluation_ends_an_epoch_once() -> None:
    clock = StepCounter()
    assert train(clock, 2) == [1, 1]
    assert [clock.evaluated(), clock.evaluated()] == [True, False]
    assert train(clock, 2) == [2, 2]


def test_an_evaluation_before_the_first_step_ends_nothing() -> None:
    clock = StepCounter()
    clock.evaluated()
    assert train(clock, 1) == [1]


def test_the_plan_goes_before_the_evaluations() -> None:
    clock = StepCounter(per_epoch=2)
    assert train(clock, 1) == [1]
    clock.evaluated()
    assert train(clock, 3) == [1, 2, 2]


def test_what_is_told_goes_before_all() -> None:
    clock = StepCounter(per_epoch=1)
    clock.tell(7)
    assert train(clock, 2) == [7, 7]


def test_an_abandoned_step_gives_its_number_back() -> None:
    clock = StepCounter()
    train(clock, 2)
    assert clock.begin() == 3
    clock.abandon()
    assert (clock.done, clock.begin()) == (2, 3)
