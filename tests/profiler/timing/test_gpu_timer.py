"""GPU times of phases and steps, measured without waiting. The GPU is a stand-in: a queue with a clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.profile_folder import read_profile
from clearsight.profiler.timing.gpu_timer import GpuTimer
from clearsight.profiler.timing.step_log import StepLog
from clearsight.profiler.timing.step_timer import StepTimer
from tests.profiler.manual_clock import ManualTime, manual_time, ticks, work


@pytest.fixture
def clock() -> Iterator[ManualTime]:
    with manual_time() as clock:
        yield clock


class Gpu:
    """Queue of work that is done when the test sets `now`. `busy` queues work of so many milliseconds."""

    def __init__(self) -> None:
        self.queued = self.now = 0.0
        self.events = self.waits = 0

    def event(self) -> Event:
        self.events += 1
        return Event(self)

    def busy(self, milliseconds: float) -> None:
        self.queued += milliseconds

    def catch_up(self) -> None:
        self.now = self.queued


class Event:
    """Stand-in for torch.cuda.Event."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.at = gpu, -1.0

    def record(self) -> None:
        self.at = self.gpu.queued

    def query(self) -> bool:
        return self.gpu.now >= self.at

    def synchronize(self) -> None:
        self.gpu.waits += 1
        self.gpu.now = max(self.gpu.now, self.at)

    def elapsed_time(self, later: Any) -> float:
        if not later.query():
            raise RuntimeError("device not ready")
        return float(later.at - self.at)


def step(gpu: Gpu, timer: GpuTimer) -> None:
    """Queue a step: data 2 ms with a transfer of 3 ms inside, 5 ms in no phase, forward 7 ms."""
    timer.mark("")
    gpu.busy(2)
    timer.mark("data")
    gpu.busy(3)
    timer.mark("transfer")
    timer.mark("data")
    gpu.busy(5)
    timer.mark("")
    gpu.busy(7)
    timer.mark("forward")


def test_a_phase_is_the_time_between_its_marks() -> None:
    gpu = Gpu()
    timer = GpuTimer(gpu.event)
    step(gpu, timer)
    gpu.catch_up()
    assert timer.seconds(timer.collect()) == pytest.approx({"data": 0.002, "transfer": 0.003, "forward": 0.007})


def test_times_are_unknown_until_the_gpu_has_passed_the_marks() -> None:
    gpu = Gpu()
    timer = GpuTimer(gpu.event)
    step(gpu, timer)
    marks = timer.collect()
    gpu.now = 8.0  # in the middle of the step
    assert timer.seconds(marks) is None
    assert gpu.waits == 0
    assert timer.seconds(marks, True) is not None
    assert gpu.waits


def test_marks_are_reused() -> None:
    gpu = Gpu()
    timer = GpuTimer(gpu.event)
    for _ in range(5):
        step(gpu, timer)
        gpu.catch_up()
        timer.seconds(timer.collect())
    step(gpu, timer)
    timer.drop(timer.collect())
    assert gpu.events == 6


def test_a_step_without_marks_has_no_times() -> None:
    assert GpuTimer(Gpu().event).seconds([]) == {}


# Steps with GPU times


def test_steps_are_logged_in_order_once_the_gpu_has_completed_them(clock: ManualTime, tmp_path: Path) -> None:
    gpu = Gpu()
    timer = StepTimer(StepLog(tmp_path / "spans.jsonl"), gpu=GpuTimer(gpu.event))
    for number in (1, 2, 3):
        with timer.phase("data"):
            gpu.busy(1)
            with timer.phase("transfer"):
                gpu.busy(2)
        with timer.phase("forward"):
            gpu.busy(4 * number)
        timer.step(number, 1, 1)
    assert timer.log.steps == []
    gpu.now = 8.0  # the first step is done, the second is not
    work(timer, clock, data=1)
    timer.step(4, 1, 1)
    assert [times.step for times in timer.log.steps] == [1]
    assert timer.log.steps[0].device == pytest.approx({"data": 0.001, "transfer": 0.002, "forward": 0.004})
    assert gpu.waits == 0
    timer.close()
    assert [times.step for times in timer.log.steps] == [1, 2, 3, 4]
    assert timer.log.steps[2].device["forward"] == pytest.approx(0.012)
    assert [times.device for times in read_profile(tmp_path).step_times] == [times.device for times in timer.log.steps]


def test_marks_of_a_cut_step_are_reused(clock: ManualTime) -> None:
    gpu = Gpu()
    timer = StepTimer(gpu=GpuTimer(gpu.event))
    for _ in range(20):
        work(timer, clock, data=1, forward=1)
        with timer.span("validation", 0, 0):
            work(timer, clock, transfer=1)
    assert gpu.events == 4


def test_steps_are_logged_without_gpu_times_after_an_error_of_the_gpu(clock: ManualTime) -> None:
    gpu = Gpu()
    marks = GpuTimer(gpu.event)
    timer = StepTimer(gpu=marks)
    work(timer, clock, forward=3)
    timer.step(1, 1, 1)

    def broken() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    gpu.busy(1)
    marks._new = broken  # type: ignore[assignment]
    work(timer, clock, forward=1, backward=2, optimizer=3)
    timer.step(2, 1, 1)
    timer.close()
    assert [(times.step, ticks(times.phases)) for times in timer.log.steps] == [
        (1, {"forward": 3}),
        (2, {"forward": 1, "backward": 2, "optimizer": 3}),
    ]
    assert timer.log.steps[1].device == {}
    assert (
        timer.failure == "the profiler's GPU timing: RuntimeError: CUDA error: an illegal memory access was encountered"
    )
