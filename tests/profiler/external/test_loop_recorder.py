"""LoopRecorder: a stopwatch of any kind, opened when it is first needed, and counts of steps and epochs."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.profile import Machine, Span
from clearsight.profiler.external.loop_inspection import BatchInfo
from clearsight.profiler.external.loop_recorder import LoopRecorder, LoopTimer
from clearsight.profiler.external.loop_state import StepUnderWay
from clearsight.profiler.recording import Recording
from clearsight.profiler.timing.step_timer import StepTimer


def test_timers_and_recordings_are_loop_timers(tmp_path: Path) -> None:
    timers: list[LoopTimer] = [StepTimer(), Recording(tmp_path, Machine())]
    for timer in timers:
        with timer.phase("forward"):
            timer.cut()


def test_the_stopwatch_is_opened_by_the_first_phase() -> None:
    recorder = LoopRecorder(StepTimer, lambda span: None)
    recorder.cut()
    recorder.span("validation", 0.0, 1.0)
    assert not recorder.started
    recorder.enter("data")
    assert recorder.started


def test_steps_are_counted_in_epochs() -> None:
    timer = StepTimer()
    recorder = LoopRecorder(lambda: timer, lambda span: None)
    for new_epoch in (True, False, True):
        recorder.enter("data")
        recorder.step(StepUnderWay(samples=4, inputs=9, new_epoch=new_epoch), None)
    assert [(times.step, times.epoch, times.samples) for times in timer.log.steps] == [(1, 1, 4), (2, 1, 4), (3, 2, 4)]


def test_without_a_loader_the_inputs_of_the_model_are_the_samples() -> None:
    timer = StepTimer()
    recorder = LoopRecorder(lambda: timer, lambda span: None)
    recorder.enter("forward")
    recorder.step(StepUnderWay(inputs=9), None)
    recorder.enter("forward")
    recorder.step(StepUnderWay(inputs=9), 7)
    assert [times.samples for times in timer.log.steps] == [9, 7]
    assert recorder.last_batch is None


def test_a_span_has_the_steps_done_before_it() -> None:
    spans: list[Span] = []
    recorder = LoopRecorder(StepTimer, spans.append)
    recorder.step(StepUnderWay(samples=1, batch=BatchInfo(1, 8, True, 0, 0, None)), None)
    recorder.span("checkpoint", 10.0, 12.0)
    assert [(span.name, span.step, span.epoch) for span in spans] == [("checkpoint", 1, 1)]
    assert spans[0].seconds == pytest.approx(2.0)
    assert recorder.last_end == 12.0
