"""Recording measures all there is of a run into one folder, takes up an earlier part, and never disturbs training."""

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
from clearsight.profiler.recording import Recording
from clearsight.training.protocols import Stopwatch

MACHINE = Machine(cores=2, device="cpu", batch_size=4, launched=1_700_000_000.0, interval=0.5)


def train(watch: Stopwatch, first: int, last: int) -> None:
    """A training as the loop tells of it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for number in range(first, last + 1):
        with watch.phase("data"):
            images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
        with watch.phase("forward"):
            logits = network(images)
        with watch.phase("backward"):
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, labels).backward()
        with watch.phase("optimizer"):
            optimizer.step()
        watch.step(number, 1, 4)
    with watch.stretch("checkpoint", last, 1):
        pass


def numbers(profile: Any) -> list[int]:
    return [times.step for times in profile.timed]


def test_a_run_is_measured_into_one_folder(tmp_path: Path) -> None:
    with Recording(tmp_path / "profile", MACHINE) as recording:
        train(recording, 1, 5)
        live = recording.profile()
        assert numbers(live) == [1, 2, 3, 4, 5]
        assert live.phases() == ("data", "forward", "backward", "optimizer")
        assert [span.name for span in live.stretches] == ["initialisation", "checkpoint"]
        assert live.machine == MACHINE
        assert live.trace is None
    told = read_profile(tmp_path / "profile")
    assert (told.machine, numbers(told)) == (MACHINE, [1, 2, 3, 4, 5])
    assert len(told.looks) == len(recording.profile().looks) >= 1
    assert [span.name for span in told.stretches] == ["initialisation", "checkpoint"]
    assert recording.failure == recording.why_no_trace == ""


def test_a_live_profile_stays_as_it_was(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        train(recording, 1, 2)
        before = recording.profile()
        train(recording, 3, 4)
    assert numbers(before) == [1, 2]


def test_the_loop_calls_the_clock_itself(tmp_path: Path) -> None:
    recording = Recording(tmp_path, MACHINE)
    assert recording.phase == recording.clock.phase
    assert recording.step == recording.clock.step


def test_a_run_that_goes_on_has_its_earlier_part_up_to_the_checkpoint(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        train(recording, 1, 6)
    looks = len(recording.profile().looks)
    with Recording(tmp_path, MACHINE, last_step=4) as recording:
        assert numbers(recording.profile()) == [1, 2, 3, 4]
        train(recording, 5, 7)
        assert numbers(recording.profile()) == [1, 2, 3, 4, 5, 6, 7]
    told = read_profile(tmp_path)
    assert numbers(told) == [1, 2, 3, 4, 5, 6, 7]
    assert len(told.looks) > looks
    begins = [span.step for span in told.stretches if span.name == "initialisation"]
    assert begins == [0, 4]


def test_a_run_that_was_killed_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        train(recording, 1, 3)
    for name in ("spans.jsonl", "gauges.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write('{"step": 4, "epo')
    with Recording(tmp_path, MACHINE, last_step=3) as recording:
        train(recording, 4, 5)
    assert numbers(read_profile(tmp_path)) == [1, 2, 3, 4, 5]
    assert recording.failure == ""


def test_ranks_share_a_folder_and_see_themselves(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as leader, Recording(tmp_path, Machine(cores=9), rank=1) as other:
        train(leader, 1, 2)
        train(other, 1, 3)
        assert {times.rank for times in other.profile().timed} == {1}
    told = read_profile(tmp_path)
    assert told.ranks() == (0, 1)
    assert told.machine == MACHINE
    with Recording(tmp_path, Machine(), rank=1, last_step=3) as other:
        assert len(other.profile().timed) == 3


def test_loads_reach_the_steps(tmp_path: Path) -> None:
    sums = {"decode": 0.0}

    def loads() -> dict[str, float]:
        sums["decode"] += 0.5
        return dict(sums)

    with Recording(tmp_path, MACHINE, loads=loads) as recording:
        train(recording, 1, 2)
        assert list(recording.profile().load("decode")) == [0.5, 0.5]


def test_in_full_a_few_steps_are_traced(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE, full=True, planned_steps=8) as recording:
        assert recording.clock.annotate is not None  # phases show in it
        train(recording, 1, 8)
        trace = recording.profile().trace
        assert recording.clock.annotate is None
    assert trace is not None
    assert (trace.first, trace.last) == (3, 6)
    told = read_profile(tmp_path)
    assert told.trace == trace
    assert [span.step for span in told.stretches if span.name == "trace"] == [6]  # looking through it took a while
    assert numbers(told) == list(range(1, 9))
    with Recording(tmp_path, MACHINE, full=True, planned_steps=9, last_step=8) as recording:
        train(recording, 9, 9)
        assert recording.profile().trace == trace
    assert recording.why_no_trace == "too few steps to trace: 1, and it takes 3"


def test_only_the_leader_traces(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE, full=True, rank=1, planned_steps=3) as recording:
        train(recording, 1, 3)
    assert recording.profile().trace is None


def test_what_the_job_runs_on_can_be_learnt_later(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        recording.describe(Machine(cores=2, workers=4))
        assert recording.profile().machine.workers == 4
    assert read_profile(tmp_path).machine.workers == 4


def test_closing_twice_and_closing_what_never_began_does_nothing(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "never", MACHINE)
    recording.close()
    assert not (tmp_path / "never").exists()
    recording = Recording(tmp_path, MACHINE)
    recording.start()
    recording.start()
    recording.close()
    recording.close()
    assert recording.failure == ""


def test_a_pace_out_of_range_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(BadValue):
        Recording(tmp_path, MACHINE, every=0.01)


def test_gauges_alone_load_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from clearsight.core.profile import Machine;"
        "from clearsight.profiler.recording import Recording\n"
        "with Recording(Path(sys.argv[1]), Machine()) as recording: pass\n"
        "sys.exit('torch' in sys.modules or bool(recording.failure))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


# What fails inside


def test_a_folder_that_cannot_be_made_leaves_training_and_memory_alone(tmp_path: Path) -> None:
    blocked = tmp_path / "profile"
    blocked.write_text("a file where the folder should be")
    with Recording(blocked, MACHINE, full=True, planned_steps=6) as recording:
        train(recording, 1, 6)
    assert numbers(recording.profile()) == [1, 2, 3, 4, 5, 6]
    assert "profile" in recording.failure


def test_files_that_are_damaged_in_the_middle_are_set_aside(tmp_path: Path) -> None:
    with Recording(tmp_path, MACHINE) as recording:
        train(recording, 1, 3)
    spans = tmp_path / "spans.jsonl"
    spans.write_bytes(b"\0\0\0\n" + spans.read_bytes())
    with Recording(tmp_path, MACHINE, last_step=3) as recording:
        train(recording, 4, 5)
    assert "set aside" in recording.failure
    assert (tmp_path / "spans.jsonl.damaged").exists()
    assert numbers(read_profile(tmp_path)) == [4, 5]


def test_an_error_of_the_training_passes_and_what_was_measured_is_kept(tmp_path: Path) -> None:
    def fail() -> None:
        with Recording(tmp_path, MACHINE) as recording:
            train(recording, 1, 2)
            with recording.phase("forward"):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert numbers(read_profile(tmp_path)) == [1, 2]
