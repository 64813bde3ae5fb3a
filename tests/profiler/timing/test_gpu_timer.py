"""DeviceClock tells a GPU's own times without waiting for it. The GPU is a stand-in: a queue with a clock."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight.profiler.timing.gpu_timer import GpuTimer


class Gpu:
    """Reaches what is queued when it is told to; `busy` queues work of so many milliseconds."""

    def __init__(self) -> None:
        self.queued = self.now = 0.0
        self.made = self.waits = 0

    def event(self) -> Event:
        self.made += 1
        return Event(self)

    def busy(self, milliseconds: float) -> None:
        self.queued += milliseconds

    def catch_up(self) -> None:
        self.now = self.queued


class Event:
    """As torch.cuda.Event behaves."""

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


def step(gpu: Gpu, clock: GpuTimer) -> None:
    """data 2 ms with a transfer of 3 ms inside, 5 ms in no phase, forward 7 ms."""
    clock.mark("")
    gpu.busy(2)
    clock.mark("data")
    gpu.busy(3)
    clock.mark("transfer")
    clock.mark("data")
    gpu.busy(5)
    clock.mark("")
    gpu.busy(7)
    clock.mark("forward")


def test_phases_have_what_lies_between_their_marks() -> None:
    gpu = Gpu()
    clock = GpuTimer(gpu.event)
    step(gpu, clock)
    gpu.catch_up()
    assert clock.seconds(clock.take()) == pytest.approx({"data": 0.002, "transfer": 0.003, "forward": 0.007})


def test_nothing_is_told_before_the_gpu_is_there_and_nobody_waits() -> None:
    gpu = Gpu()
    clock = GpuTimer(gpu.event)
    step(gpu, clock)
    marks = clock.take()
    gpu.now = 8.0  # in the midst of the step
    assert clock.seconds(marks) is None
    assert gpu.waits == 0
    assert clock.seconds(marks, True) is not None
    assert gpu.waits


def test_marks_are_used_again() -> None:
    gpu = Gpu()
    clock = GpuTimer(gpu.event)
    for _ in range(5):
        step(gpu, clock)
        gpu.catch_up()
        clock.seconds(clock.take())
    step(gpu, clock)
    clock.drop(clock.take())
    assert gpu.made == 6


def test_a_step_without_marks_took_nothing() -> None:
    assert GpuTimer(Gpu().event).seconds([]) == {}
