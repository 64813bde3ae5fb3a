"""StepClock keeps what it measured: in memory, in its file, from a GPU, and when something fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearsight.core.profile_folder import read_profile
from clearsight.profiler.timing.gpu_timer import GpuTimer
from clearsight.profiler.timing.step_timer import StepTimer
from tests.profiler.hands import TICK, Hands, hands, ticks, work
from tests.profiler.timing.test_gpu_timer import Gpu


@pytest.fixture
def at() -> Iterator[Hands]:
    with hands() as clock:
        yield clock


# On a GPU


def test_steps_are_handed_on_in_order_when_the_gpu_has_done_them(at: Hands, tmp_path: Path) -> None:
    gpu = Gpu()
    clock = StepTimer(tmp_path / "spans.jsonl", device=GpuTimer(gpu.event))
    for number in (1, 2, 3):
        with clock.phase("data"):
            gpu.busy(1)
            with clock.phase("transfer"):
                gpu.busy(2)
        with clock.phase("forward"):
            gpu.busy(4 * number)
        clock.step(number, 1, 1)
    assert clock.steps == []
    gpu.now = 8.0  # the first step is done, the second is not
    work(clock, at, data=1)
    clock.step(4, 1, 1)
    assert [times.step for times in clock.steps] == [1]
    assert clock.steps[0].device == pytest.approx({"data": 0.001, "transfer": 0.002, "forward": 0.004})
    assert gpu.waits == 0
    clock.close()
    assert [times.step for times in clock.steps] == [1, 2, 3, 4]
    assert clock.steps[2].device["forward"] == pytest.approx(0.012)
    assert [times.device for times in read_profile(tmp_path).timed] == [times.device for times in clock.steps]


def test_what_is_cut_leaves_no_marks_behind(at: Hands) -> None:
    gpu = Gpu()
    clock = StepTimer(None, device=GpuTimer(gpu.event))
    for _ in range(20):
        work(clock, at, data=1, forward=1)
        with clock.stretch("validation", 0, 0):
            work(clock, at, transfer=1)
    assert gpu.made == 4


def test_a_gpu_that_fails_costs_its_own_times_alone(at: Hands) -> None:
    gpu = Gpu()
    clock = StepTimer(None, device=GpuTimer(gpu.event))
    work(clock, at, forward=3)
    clock.step(1, 1, 1)

    def broken() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    gpu.busy(1)
    clock._device._new = broken  # type: ignore[union-attr,assignment]
    work(clock, at, forward=1, backward=2, optimizer=3)
    clock.step(2, 1, 1)
    clock.close()
    assert [(times.step, ticks(times.phases)) for times in clock.steps] == [
        (1, {"forward": 3}),
        (2, {"forward": 1, "backward": 2, "optimizer": 3}),
    ]
    assert clock.steps[1].device == {}
    assert clock.failure == "device: RuntimeError: CUDA error: an illegal memory access was encountered"


# The file


def steps_into(path: Path | None, count: int, *, first: int = 1, keep: int = 100_000) -> StepTimer:
    clock = StepTimer(path, keep=keep)
    for number in range(first, first + count):
        with clock.phase("forward"):
            pass
        clock.step(number, 1, 4)
    return clock


def test_the_file_tells_what_memory_tells(tmp_path: Path) -> None:
    clock = steps_into(tmp_path / "spans.jsonl", 450)
    with clock.stretch("checkpoint", 450, 1):
        pass
    assert len(read_profile(tmp_path).timed) in (400, 450)  # written by the 200; all after a second
    clock.close()
    told = read_profile(tmp_path)
    assert [times.step for times in told.timed] == [times.step for times in clock.steps]
    assert told.timed[17].seconds == pytest.approx(clock.steps[17].seconds, abs=1e-6)
    assert [span.name for span in told.stretches] == ["checkpoint"]


def test_lines_are_written_after_a_second(at: Hands, tmp_path: Path) -> None:
    clock = StepTimer(tmp_path / "spans.jsonl")
    work(clock, at, data=100)
    clock.step(1, 1, 1)
    assert not (tmp_path / "spans.jsonl").exists()
    work(clock, at, data=1000)
    clock.step(2, 1, 1)
    assert len(read_profile(tmp_path).timed) == 2
    clock.close()


def test_a_line_that_a_crash_cut_short_is_left_out_and_never_continued(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    steps_into(path, 3).close()
    path.write_bytes(path.read_bytes()[:-20])
    assert [times.step for times in read_profile(tmp_path).timed] == [1, 2]
    steps_into(path, 2, first=3).close()
    assert [times.step for times in read_profile(tmp_path).timed] == [1, 2, 3, 4]


_KILLED = """
import os, signal, sys
from pathlib import Path
from clearsight.profiler.timing.step_timer import StepClock
clock = StepClock(Path(sys.argv[1]))
for number in range(1, 701):
    with clock.phase("forward"):
        pass
    clock.step(number, 1, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_loses_a_second_at_most_and_no_line_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    numbers = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert len(numbers) >= 600
    assert numbers == list(range(1, len(numbers) + 1))


def test_memory_thins_the_older_half_and_the_file_keeps_all(tmp_path: Path) -> None:
    clock = steps_into(tmp_path / "spans.jsonl", 1000, keep=100)
    clock.close()
    numbers = [times.step for times in clock.steps]
    assert len(numbers) <= 100
    assert numbers == sorted(numbers)
    assert numbers[-50:] == list(range(951, 1001))
    assert set(numbers) & set(range(1, 900)) <= set(range(10, 900, 10))
    assert len(read_profile(tmp_path).timed) == 1000


# What fails inside


def test_a_full_disk_ends_the_file_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    clock = steps_into(Path("/dev/full"), 500)
    clock.close()
    assert len(clock.steps) == 500
    assert "No space left on device" in clock.failure
    assert len(caplog.records) == 1
    assert Path("/dev/full") not in [link.resolve() for link in Path("/proc/self/fd").iterdir()]  # let go of


def test_sums_that_fail_are_told_no_more(at: Hands, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, float]:
        raise KeyError("decode")

    clock = StepTimer(None, loads=broken)
    for number in (1, 2):
        work(clock, at, data=1)
        clock.step(number, 1, 1)
    assert [times.load for times in clock.steps] == [{}, {}]
    assert clock.failure == "load: KeyError: 'decode'"
    assert len(caplog.records) == 1


def test_images_that_are_none_and_a_trace_that_fails_leave_the_steps_alone(at: Hands) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError(name)

    clock = StepTimer(None)
    clock.annotate = broken
    work(clock, at, data=1)
    clock.note_images(np.zeros((4, 4), np.uint8))
    work(clock, at, forward=2)
    clock.step(1, 1, 1)
    assert clock.steps[0].seconds == 3 * TICK
    assert clock.steps[0].padding is None
    assert "annotation: RuntimeError: data" in clock.failure
    assert "padding: BadShape" in clock.failure


def test_a_clock_that_is_told_nonsense_measures_no_more_and_does_not_raise(at: Hands) -> None:
    clock = StepTimer(None)
    work(clock, at, data=1)
    clock.step("one", 1, 1)  # type: ignore[arg-type]
    work(clock, at, data=1)
    clock.step(2, 1, 1)
    assert clock.steps == []
    assert clock.failure.startswith("steps: ValueError")
