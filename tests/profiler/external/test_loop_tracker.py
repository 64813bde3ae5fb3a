"""LoopTracker: steps marked by the script, failures inside, and the state between events."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.profile import Span
from clearsight.profiler.external.loop_inspection import BatchInfo
from clearsight.profiler.external.loop_state import LoopRecorder
from clearsight.profiler.external.loop_tracker import LoopTracker
from clearsight.profiler.timing.step_timer import StepTimer
from tests.profiler.external.loops import Loop, listening

BATCH = BatchInfo(size=4, bytes=100, first=True, workers=2, prefetch=2, images=None)


def test_steps_that_the_script_marks_are_used(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        for images, labels in loop.loader:
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
            seen.tracker.mark_step(7)
    assert [step.step for step in seen.timer.log.steps] == [1, 2, 3, 4, 5, 6]
    assert [step.samples for step in seen.timer.log.steps] == [2, *[7] * 5]  # the optimizer ended the first one


def test_steps_of_a_loop_without_torch(tmp_path: Path) -> None:
    with listening(tmp_path) as seen:
        for _ in range(4):
            sum(range(1000))
            seen.tracker.mark_step(8)
    assert seen.tracker.recorder.steps == 4
    assert len(seen.timer.log.steps) == 3  # the start of the first one is unknown
    assert all(step.seconds > 0 for step in seen.timer.log.steps)


def test_optimizer_steps_within_a_marked_step_end_no_step(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        seen.tracker.mark_step(None)
        for number, (images, labels) in enumerate(loop.loader, start=1):
            loop.loss(images, labels).backward()  # type: ignore[no-untyped-call]
            loop.optimizer.step()
            if number % 2 == 0:
                seen.tracker.mark_step(None)
    assert seen.tracker.recorder.steps == 4
    assert [step.samples for step in seen.timer.log.steps][-3:] == [4, 4, 4]


class Failing(StepTimer):
    """Stopwatch whose second step fails."""

    def step(self, step: int, epoch: int, samples: int) -> None:
        if step == 2:
            raise ArithmeticError("the timer is broken")
        super().step(step, epoch, samples)


def test_a_failure_inside_is_logged_once_and_ends_the_tracking(caplog: pytest.LogCaptureFixture) -> None:
    spans: list[Span] = []
    tracker, model = LoopTracker(LoopRecorder(lambda: Failing(), spans.append)), nn.Linear(2, 2)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            tracker.begin_call(model, (torch.zeros(1, 2),))
            tracker.end_call()
            tracker.begin_backward()
            tracker.end_backward()
            tracker.begin_update(model)
            tracker.end_update(model)
    assert tracker.guard.reason == "ArithmeticError: the timer is broken"
    assert tracker.recorder.steps == 2
    assert not tracker.begin_wait()
    assert len([record for record in caplog.records if "failed and is off" in record.message]) == 1


def test_a_batch_that_cannot_be_described_does_not_disturb_the_loop() -> None:
    tracker = LoopTracker(LoopRecorder(lambda: StepTimer(), lambda span: None))
    assert tracker.begin_wait()
    tracker.end_wait(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert tracker.guard.reason == "ZeroDivisionError: division by zero"


def test_the_stopwatch_is_opened_at_the_first_sign_of_training() -> None:
    opened: list[str] = []

    def open_timer() -> StepTimer:
        opened.append("timer")
        return StepTimer()

    tracker, model = LoopTracker(LoopRecorder(open_timer, lambda span: None)), nn.Linear(2, 2)
    with torch.no_grad():
        tracker.begin_wait()
        tracker.end_wait(lambda: BATCH)
    assert opened == []
    tracker.begin_wait()
    tracker.end_wait(lambda: BATCH)
    tracker.begin_call(model, ())
    assert opened == ["timer"]


def test_images_of_a_batch_are_passed_to_the_stopwatch() -> None:
    timer = StepTimer()
    tracker = LoopTracker(LoopRecorder(lambda: timer, lambda span: None))
    framed = np.zeros((4, 3, 8, 8), np.float32)
    framed[:, :, 2:6, :] = np.random.default_rng(0).random((4, 3, 4, 8))
    tracker.begin_wait()
    tracker.end_wait(lambda: BatchInfo(4, 100, True, 0, 0, framed))
    tracker.mark_step(None)
    assert timer.log.steps[0].padding == pytest.approx(0.5)


def test_the_last_batch_that_was_trained_on_is_remembered() -> None:
    tracker, model = LoopTracker(LoopRecorder(lambda: StepTimer(), lambda span: None)), nn.Linear(2, 2)
    tracker.begin_wait()
    tracker.end_wait(lambda: BATCH)
    assert tracker.recorder.last_batch is None
    tracker.begin_update(model)
    tracker.end_update(model)
    assert tracker.recorder.last_batch is BATCH


def test_a_forked_process_is_silent(tmp_path: Path) -> None:
    tracker = LoopTracker(LoopRecorder(lambda: StepTimer(), lambda span: None))
    child = os.fork()
    if not child:
        os._exit(0 if tracker.silent and not tracker.begin_wait() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not tracker.silent


def test_an_unfinished_step_is_left_out(tmp_path: Path) -> None:
    loop = Loop()
    with listening(tmp_path) as seen:
        loop.train()
        loop.loader.__iter__().__next__()
        loop.model.eval()
        with torch.no_grad():
            loop.model(torch.zeros(1, 3, 2, 2))
    assert seen.names() == ["validation"]
    assert len(seen.timer.log.steps) == 6


def test_a_silent_tracker_ignores_events() -> None:
    tracker, model = LoopTracker(LoopRecorder(StepTimer, lambda span: None)), nn.Linear(2, 2)
    assert tracker.begin_backward()
    tracker.silent = True
    assert not tracker.end_backward()
    begins = [tracker.begin_wait(), tracker.begin_call(model, ()), tracker.begin_backward(), tracker.begin_saving()]
    assert not any([*begins, tracker.begin_update(model), tracker.begin_transfer(), tracker.mark_step(1)])
    assert tracker.recorder.steps == 0
