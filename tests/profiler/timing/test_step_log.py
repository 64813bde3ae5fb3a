"""StepLog: timed steps and spans, in memory and in the spans file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearsight.core.profile_folder import read_profile
from clearsight.profiler.timing.step_log import StepLog
from clearsight.profiler.timing.step_timer import StepTimer
from tests.profiler.manual_clock import ManualTime, manual_time, work


@pytest.fixture
def clock() -> Iterator[ManualTime]:
    with manual_time() as clock:
        yield clock


def steps_into(path: Path | None, count: int, *, first: int = 1, keep: int = 100_000) -> StepTimer:
    timer = StepTimer(StepLog(path, keep=keep))
    for number in range(first, first + count):
        with timer.phase("forward"):
            pass
        timer.step(number, 1, 4)
    return timer


def test_the_file_has_what_memory_has(tmp_path: Path) -> None:
    timer = steps_into(tmp_path / "spans.jsonl", 450)
    with timer.span("checkpoint", 450, 1):
        pass
    assert len(read_profile(tmp_path).step_times) in (
        400,
        450,
    )  # in blocks of 200, or all after a second
    timer.close()
    profile = read_profile(tmp_path)
    assert [times.step for times in profile.step_times] == [times.step for times in timer.log.steps]
    assert profile.step_times[17].seconds == pytest.approx(timer.log.steps[17].seconds, abs=1e-6)
    assert [span.name for span in profile.all_spans] == ["checkpoint"]


def test_lines_are_written_after_a_second(clock: ManualTime, tmp_path: Path) -> None:
    timer = StepTimer(StepLog(tmp_path / "spans.jsonl"))
    work(timer, clock, data=100)
    timer.step(1, 1, 1)
    assert not (tmp_path / "spans.jsonl").exists()
    work(timer, clock, data=1000)
    timer.step(2, 1, 1)
    assert len(read_profile(tmp_path).step_times) == 2
    timer.close()


def test_an_unfinished_line_of_a_crash_is_dropped_and_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    steps_into(path, 3).close()
    path.write_bytes(path.read_bytes()[:-20])
    assert [times.step for times in read_profile(tmp_path).step_times] == [1, 2]
    steps_into(path, 2, first=3).close()
    assert [times.step for times in read_profile(tmp_path).step_times] == [1, 2, 3, 4]


_KILLED = """
import os, signal, sys
from pathlib import Path
from clearsight.profiler.timing.step_log import StepLog
from clearsight.profiler.timing.step_timer import StepTimer
timer = StepTimer(StepLog(Path(sys.argv[1])))
for number in range(1, 701):
    with timer.phase("forward"):
        pass
    timer.step(number, 1, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_loses_a_second_at_most_and_no_line_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    numbers = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert len(numbers) >= 600
    assert numbers == list(range(1, len(numbers) + 1))


def test_memory_drops_most_of_the_older_half_and_the_file_keeps_all(tmp_path: Path) -> None:
    timer = steps_into(tmp_path / "spans.jsonl", 1000, keep=100)
    timer.close()
    numbers = [times.step for times in timer.log.steps]
    assert len(numbers) <= 100
    assert numbers == sorted(numbers)
    assert numbers[-50:] == list(range(951, 1001))
    assert set(numbers) & set(range(1, 900)) <= set(range(10, 900, 10))
    assert len(read_profile(tmp_path).step_times) == 1000


def test_after_a_full_disk_memory_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    timer = steps_into(Path("/dev/full"), 500)
    timer.close()
    assert len(timer.log.steps) == 500
    assert "No space left on device" in timer.failure
    assert len(caplog.records) == 1
    assert Path("/dev/full") not in [link.resolve() for link in Path("/proc/self/fd").iterdir()]  # closed
