"""StepCounter: steps are counted; epochs are set, planned or derived; modes are forced or those of the model."""

from __future__ import annotations

from clearsight.debugger.capture.step_counter import StepCounter


def train(counter: StepCounter, steps: int) -> list[int]:
    epochs = []
    for _ in range(steps):
        counter.begin()
        epochs.append(counter.epoch)
        counter.end()
    return epochs


def test_steps_count_from_one() -> None:
    counter = StepCounter()
    assert counter.begin() == 1
    assert counter.open
    counter.end()
    assert (counter.done, counter.open, counter.begin()) == (1, False, 2)


def test_an_evaluation_ends_an_epoch_once() -> None:
    counter = StepCounter()
    assert train(counter, 2) == [1, 1]
    assert [counter.begin_evaluation(), counter.begin_evaluation()] == [True, False]
    assert train(counter, 2) == [2, 2]


def test_an_evaluation_before_the_first_step_ends_nothing() -> None:
    counter = StepCounter()
    counter.begin_evaluation()
    assert train(counter, 1) == [1]


def test_the_plan_goes_before_the_evaluations() -> None:
    counter = StepCounter(per_epoch=2)
    assert train(counter, 1) == [1]
    counter.begin_evaluation()
    assert train(counter, 3) == [1, 2, 2]


def test_an_epoch_that_is_set_goes_before_all() -> None:
    counter = StepCounter(per_epoch=1)
    counter.set_epoch(7)
    assert train(counter, 2) == [7, 7]


def test_an_abandoned_step_gives_its_number_back() -> None:
    counter = StepCounter()
    train(counter, 2)
    assert counter.begin() == 3
    counter.abandon()
    assert (counter.done, counter.begin()) == (2, 3)


def test_the_mode_is_the_forced_one_or_that_of_the_model() -> None:
    counter = StepCounter()
    assert [counter.mode(training=training) for training in (True, False)] == ["train", "eval"]
    counter.forced_mode = "predict"
    assert counter.mode(training=True) == "predict"
