"""OptimizerCycle counts the optimizers that make a training step, LoopRecorder the steps and epochs of a loop."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.profile import Machine, Span
from clearsight.profiler.external.loop_inspection import BatchInfo
from clearsight.profiler.external.loop_state import AfterUpdate, LoopRecorder, LoopTimer, OptimizerCycle, StepUnderWay
from clearsight.profiler.recording import Recording
from clearsight.profiler.timing.step_timer import StepTimer


def test_one_optimizer_ends_each_step() -> None:
    cycle = OptimizerCycle()
    for _ in range(3):
        assert cycle.updated() is AfterUpdate.ENDED
        assert not cycle.over()


def test_the_second_of_two_optimizers_is_late_once() -> None:
    cycle = OptimizerCycle()
    assert [cycle.updated(), cycle.updated(), cycle.over()] == [AfterUpdate.ENDED, AfterUpdate.LATE, False]
    assert [cycle.updated(), cycle.updated(), cycle.over()] == [AfterUpdate.WAITS, AfterUpdate.ENDED, False]


def test_a_step_ends_late_where_an_expected_optimizer_does_not_follow() -> None:
    cycle = OptimizerCycle()
    assert [cycle.updated(), cycle.updated(), cycle.over()] == [AfterUpdate.ENDED, AfterUpdate.LATE, False]
    assert [cycle.updated(), cycle.over()] == [AfterUpdate.WAITS, True]
    assert cycle.updated() is AfterUpdate.ENDED


def test_passes_without_an_update_end_nothing() -> None:
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


# LoopRecorder


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
