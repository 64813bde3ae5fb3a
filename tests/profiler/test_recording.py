"""Recording: everything measured of a run in one folder, earlier parts of it included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clearsight.core.errors import BadValue
from clearsight.core.profile import Machine
from clearsight.core.profile_folder import read_profile
from clearsight.profiler.recording import Recording, RecordingOptions
from clearsight.training.protocols import Stopwatch

MACHINE = Machine(cores=2, device="cpu", batch_size=4, launched=1_700_000_000.0, interval=0.5)


def train(stopwatch: Stopwatch, first: int, last: int) -> None:
    """Train some steps and report them as the training loop does."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for number in range(first, last + 1):
        with stopwatch.phase("data"):
            images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
        with stopwatch.phase("forward"):
            logits = network(images)
        with stopwatch.phase("backward"):
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, labels).backward()
        with stopwatch.phase("optimizer"):
            optimizer.step()
        stopwatch.step(number, 1, 4)
    with stopwatch.span("checkpoint", last, 1):
        pass


def numbers(profile: Any) -> list[int]:
    return [times.step for times in profile.step_times]


def test_a_run_is_measured_into_one_folder(tmp_path: Path) -> None:
    with Recording(tmp_path / "profile", MACHINE) as recording:
        train(recording, 1, 5)
        live = recording.profile()
        assert numbers(live) == [1, 2, 3, 4, 5]
        assert live.phases() == ("data", "forward", "backward", "optimizer")
        assert [span.name for span in live.all_spans] == ["initialisation", "checkpoint"]
        assert live.machine == MACHINE
        assert live.trace is None
    profile = read_profile(tmp_path / "profile")
    assert (profile.machine, numbers(profile)) == (MACHINE, [1, 2, 3, 4, 5])
    assert len(profile.gauge_samples) == len(recording.profile().gauge_samples) >= 1
    assert [span.name for span in profile.all_spans] == ["initialisation", "checkpoint"]
    assert recording.failure == recording.no_trace_reason == ""


def test_a_profile_does_not_change_afterwards(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        train(recording, 1, 2)
        before = recording.profile()
        train(recording, 3, 4)
    assert numbers(before) == [1, 2]


def test_the_loop_calls_the_timer_without_a_detour(tmp_path: Path) -> None:
    recording = Recording(tmp_path, MACHINE)
    assert recording.phase == recording.timer.phase
    assert recording.step == recording.timer.step


def test_a_resumed_run_has_its_earlier_part_up_to_the_checkpoint(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        train(recording, 1, 6)
    samples = len(recording.profile().gauge_samples)
    with Recording(tmp_path, MACHINE, RecordingOptions(last_step=4)) as recording:
        assert numbers(recording.profile()) == [1, 2, 3, 4]
        train(recording, 5, 7)
        assert numbers(recording.profile()) == [1, 2, 3, 4, 5, 6, 7]
    profile = read_profile(tmp_path)
    assert numbers(profile) == [1, 2, 3, 4, 5, 6, 7]
    assert len(profile.gauge_samples) > samples
    done = [span.step for span in profile.all_spans if span.name == "initialisation"]
    assert done == [0, 4]


def test_a_killed_run_continues_after_its_last_whole_line(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        train(recording, 1, 3)
    for name in ("spans.jsonl", "gauges.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write('{"step": 4, "epo')
    with Recording(tmp_path, MACHINE, RecordingOptions(last_step=3)) as recording:
        train(recording, 4, 5)
    assert numbers(read_profile(tmp_path)) == [1, 2, 3, 4, 5]
    assert recording.failure == ""


def test_ranks_share_a_folder_and_profile_themselves(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as leader, Recording(tmp_path, Machine(cores=9), rank=1) as other:
        train(leader, 1, 2)
        train(other, 1, 3)
        assert {times.rank for times in other.profile().step_times} == {1}
    profile = read_profile(tmp_path)
    assert profile.ranks() == (0, 1)
    assert profile.machine == MACHINE
    with Recording(tmp_path, Machine(), RecordingOptions(last_step=3), rank=1) as other:
        assert len(other.profile().step_times) == 3


def test_loads_reach_the_steps(tmp_path: Path) -> None:
    sums = {"decode": 0.0}

    def loads() -> dict[str, float]:
        sums["decode"] += 0.5
        return dict(sums)

    with Recording(tmp_path, MACHINE, loads=loads) as recording:
        train(recording, 1, 2)
        assert list(recording.profile().load("decode")) == [0.5, 0.5]


def test_in_full_a_few_steps_are_traced(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE, RecordingOptions(full=True, planned_steps=8)) as recording:
        assert recording.timer.annotate is not None  # phases show in it
        train(recording, 1, 8)
        trace = recording.profile().trace
        assert recording.timer.annotate is None
    assert trace is not None
    assert (trace.first, trace.last) == (3, 6)
    profile = read_profile(tmp_path)
    assert profile.trace == trace
    assert [span.step for span in profile.all_spans if span.name == "trace"] == [6]  # the evaluation of the trace
    assert numbers(profile) == list(range(1, 9))
    with Recording(tmp_path, MACHINE, RecordingOptions(full=True, planned_steps=9, last_step=8)) as recording:
        train(recording, 9, 9)
        assert recording.profile().trace == trace
    assert recording.no_trace_reason == "too few steps to trace: 1; tracing needs at least 3"


def test_only_the_leader_traces(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE, RecordingOptions(full=True, planned_steps=3), rank=1) as recording:
        train(recording, 1, 3)
    assert recording.profile().trace is None


def test_the_machine_can_be_described_later(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        recording.describe(Machine(cores=2, workers=4))
        assert recording.profile().machine.workers == 4
    assert read_profile(tmp_path).machine.workers == 4


def test_closing_twice_or_before_the_start_does_nothing(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "never", MACHINE)
    recording.close()
    assert not (tmp_path / "never").exists()
    recording = Recording(tmp_path, MACHINE)
    recording.start()
    recording.start()
    recording.close()
    recording.close()
    assert recording.failure == ""


def test_an_interval_out_of_range_raises(tmp_path: Path) -> None:
    with pytest.raises(BadValue):
        Recording(tmp_path, MACHINE, RecordingOptions(every=0.01))


def test_gauges_alone_load_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from clearsight.core.profile import Machine;"
        "from clearsight.profiler.recording import Recording\n"
        "with Recording(Path(sys.argv[1]), Machine()) as recording: pass\n"
        "sys.exit('torch' in sys.modules or bool(recording.failure))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


# Failures inside


def test_steps_are_timed_in_memory_where_the_folder_cannot_be_created(tmp_path: Path) -> None:
    blocked = tmp_path / "profile"
    blocked.write_text("a file where the folder should be")
    with Recording(blocked, MACHINE, RecordingOptions(full=True, planned_steps=6)) as recording:
        train(recording, 1, 6)
    assert numbers(recording.profile()) == [1, 2, 3, 4, 5, 6]
    assert "profile" in recording.failure


def test_damaged_files_are_set_aside(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        train(recording, 1, 3)
    spans = tmp_path / "spans.jsonl"
    spans.write_bytes(b"\0\0\0\n" + spans.read_bytes())
    with Recording(tmp_path, MACHINE, RecordingOptions(last_step=3)) as recording:
        train(recording, 4, 5)
    assert "set aside" in recording.failure
    assert (tmp_path / "spans.jsonl.damaged").exists()
    assert numbers(read_profile(tmp_path)) == [4, 5]


def test_an_error_of_the_training_is_raised_and_no_measurement_is_lost(tmp_path: Path) -> None:
    def fail() -> None:
        with Recording(tmp_path, MACHINE) as recording:
            train(recording, 1, 2)
            with recording.phase("forward"):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert numbers(read_profile(tmp_path)) == [1, 2]
