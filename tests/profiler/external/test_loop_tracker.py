"""Course: what the script itself says, and what never reaches it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from clearsight.core.profile import Span
from clearsight.profiler.external.batch import BatchInfo
from clearsight.profiler.external.loop_tracker import AfterUpdate, LoopTracker, OptimizerCycle
from clearsight.profiler.timing.step_timer import StepTimer
from tests.profiler.external.loops import Loop, listening

BATCH = BatchInfo(size=4, bytes=100, first=True, workers=2, prefetch=2, images=None)


def test_a_script_that_says_its_steps_is_believed(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        for images, labels in loop.loader:
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
            seen.course.said_step(7)
    assert [step.step for step in seen.clock.steps] == [1, 2, 3, 4, 5, 6]
    assert [step.samples for step in seen.clock.steps] == [2, *[7] * 5]  # the first was ended by its optimizer


def test_steps_of_a_loop_without_torch(tmp_path: Path) -> None:
    with listening(tmp_path) as seen:
        for _ in range(4):
            sum(range(1000))
            seen.course.said_step(8)
    assert seen.course.done == 4
    assert len(seen.clock.steps) == 3  # nobody knows when the first began
    assert all(step.seconds > 0 for step in seen.clock.steps)


def test_optimizer_steps_within_a_said_step_are_its_own(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        seen.course.said_step(None)
        for number, (images, labels) in enumerate(loop.loader, start=1):
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
            if number % 2 == 0:
                seen.course.said_step(None)
    assert seen.course.done == 4
    assert [step.samples for step in seen.clock.steps][-3:] == [4, 4, 4]


class Failing(StepTimer):
    """A stopwatch of which the second step fails."""

    def step(self, step: int, epoch: int, samples: int) -> None:
        if step == 2:
            raise ArithmeticError("the clock stands still")
        super().step(step, epoch, samples)


def test_a_failure_inside_is_kept_logged_once_and_ends_the_following(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Span] = []
    course, model = LoopTracker(lambda: Failing(None), told.append), nn.Linear(2, 2)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            course.begins_call(model, (torch.zeros(1, 2),))
            course.ends_call()
            course.begins_backward()
            course.ends_backward()
            course.begins_update(model)
            course.ends_update(model)
    assert course.failure == "ArithmeticError: the clock stands still"
    assert course.done == 2
    assert not course.begins_wait()
    assert len([record for record in caplog.records if "stopped following" in record.message]) == 1


def test_a_batch_that_cannot_be_described_does_not_reach_the_loop() -> None:
    course = LoopTracker(lambda: StepTimer(None), lambda span: None)
    assert course.begins_wait()
    course.ends_wait(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert course.failure == "ZeroDivisionError: division by zero"


def test_the_stopwatch_is_asked_for_at_the_first_sign_of_training() -> None:
    asked: list[str] = []

    def clock() -> StepTimer:
        asked.append("clock")
        return StepTimer(None)

    course, model = LoopTracker(clock, lambda span: None), nn.Linear(2, 2)
    with torch.no_grad():
        course.begins_wait()
        course.ends_wait(lambda: BATCH)
    assert asked == []
    course.begins_wait()
    course.ends_wait(lambda: BATCH)
    course.begins_call(model, ())
    assert asked == ["clock"]


def test_images_of_a_batch_are_shown_to_the_stopwatch() -> None:
    clock = StepTimer(None)
    course = LoopTracker(lambda: clock, lambda span: None)
    framed = np.zeros((4, 3, 8, 8), np.float32)
    framed[:, :, 2:6, :] = np.random.default_rng(0).random((4, 3, 4, 8))
    course.begins_wait()
    course.ends_wait(lambda: BatchInfo(4, 100, True, 0, 0, framed))
    course.said_step(None)
    assert clock.steps[0].padding == pytest.approx(0.5)


def test_the_last_batch_that_was_trained_on_is_remembered() -> None:
    course, model = LoopTracker(lambda: StepTimer(None), lambda span: None), nn.Linear(2, 2)
    course.begins_wait()
    course.ends_wait(lambda: BATCH)
    assert course.last_batch is None
    course.begins_update(model)
    course.ends_update(model)
    assert course.last_batch is BATCH


def test_a_forked_process_is_silent(tmp_path: Path) -> None:
    course = LoopTracker(lambda: StepTimer(None), lambda span: None)
    child = os.fork()
    if not child:
        os._exit(0 if course.silent and not course.begins_wait() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not course.silent


def test_what_was_begun_and_not_finished_is_left_out(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        loop.train()
        loop.loader.__iter__().__next__()
        loop.model.eval()
        with torch.no_grad():
            loop.model(torch.zeros(1, 3, 2, 2))
    assert seen.names() == ["validation"]
    assert len(seen.clock.steps) == 6


def test_one_optimizer_ends_each_step() -> None:
    cycle = OptimizerCycle()
    for _ in range(3):
        assert cycle.updated() is AfterUpdate.ENDED
        assert not cycle.over()


def test_the_second_of_two_is_late_once() -> None:
    cycle = OptimizerCycle()
    assert [cycle.updated(), cycle.updated(), cycle.over()] == [AfterUpdate.ENDED, AfterUpdate.LATE, False]
    assert [cycle.updated(), cycle.updated(), cycle.over()] == [AfterUpdate.WAITS, AfterUpdate.ENDED, False]


def test_one_that_does_not_come_ends_the_step_late() -> None:
    cycle = OptimizerCycle()
    assert [cycle.updated(), cycle.updated(), cycle.over()] == [AfterUpdate.ENDED, AfterUpdate.LATE, False]
    assert [cycle.updated(), cycle.over()] == [AfterUpdate.WAITS, True]
    assert cycle.updated() is AfterUpdate.ENDED


def test_passes_without_an_update_say_nothing() -> None:
    cycle = OptimizerCycle()
    assert not cycle.over()
    cycle.updated()
    cycle.restart()
    assert not cycle.over()
    assert cycle.updated() is AfterUpdate.ENDED


@given(st.lists(st.integers(0, 4), max_size=30))
def test_every_cycle_with_an_update_ends_exactly_one_step(sizes: list[int]) -> None:
    cycle = OptimizerCycle()
    for size in sizes:
        ended = sum(cycle.updated() is AfterUpdate.ENDED for _ in range(size)) + cycle.over()
        assert ended == (1 if size else 0)
