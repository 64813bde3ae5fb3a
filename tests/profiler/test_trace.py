"""TraceWindow: a few steps of a training, traced operator by operator without disturbing it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from clearsight.core.profile_folder import read_profile
from clearsight.profiler.timing.step_log import StepLog
from clearsight.profiler.timing.step_timer import StepTimer
from clearsight.profiler.trace import TracedStepTimer, TraceSchedule, TraceWindow, summary, write_trace_file
from tests.profiler.external.loops import Loop


class Training:
    """Two convolutions on images of 64 pixels; one call is one step."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.network = nn.Sequential(*layers, nn.Linear(4, 2))
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1)
        self.images, self.labels = torch.rand(4, 3, 64, 64), torch.tensor([0, 1, 0, 1])

    def step(self, tracing: TraceWindow | None = None) -> None:
        self.optimizer.zero_grad()
        if tracing is not None and tracing.annotate is not None:
            with tracing.annotate("forward"):
                logits = self.network(self.images)
        else:
            logits = self.network(self.images)
        nn.functional.cross_entropy(logits, self.labels).backward()
        self.optimizer.step()


@dataclass(frozen=True)
class TracedRun:
    folder: Path
    window: TraceWindow
    whole: dict[str, Any]


def train(tracing: TraceWindow, steps: int, *, first: int = 1) -> None:
    training = Training()
    with tracing:
        for number in range(first, first + steps):
            training.step(tracing)
            tracing.step(number)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> TracedRun:
    """Steps 101 to 107 of a run: one waits, two warm up, three are traced."""
    folder = tmp_path_factory.mktemp("profile")
    tracing = TraceWindow(folder, schedule=TraceSchedule(1, 2, 3))
    train(tracing, 7, first=101)
    return TracedRun(folder, tracing, json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes())))


def test_operators_have_their_own_time_and_the_longest_come_first(traced: TracedRun) -> None:
    trace = traced.window.trace
    assert trace is not None
    named = {operator.name: operator for operator in trace.operators}
    assert named["aten::convolution"].calls == 6  # two in each of three steps
    assert named["aten::addmm"].calls == 3
    seconds = [operator.cpu_seconds for operator in trace.operators]
    assert seconds == sorted(seconds, reverse=True)
    assert 0 < sum(seconds) <= trace.seconds
    assert not any(name.startswith(("ProfilerStep", "[memory", "forward", "Optimizer")) for name in named)
    assert any(operator.memory_bytes > 0 for operator in trace.operators)


def test_traced_steps_and_kernels_are_counted(traced: TracedRun) -> None:
    trace = traced.window.trace
    assert trace is not None
    assert (trace.first, trace.last, trace.steps) == (104, 106, 3)
    assert 3 * 10 < trace.kernels < sum(operator.calls for operator in trace.operators)
    assert 0 < trace.kernel_seconds <= trace.seconds
    assert trace.peak_bytes == 0  # unknown on a CPU
    assert traced.window.no_trace_reason == traced.window.failure == ""


def test_operators_are_written_to_the_folder(traced: TracedRun) -> None:
    assert read_profile(traced.folder).trace == traced.window.trace


def test_phases_are_ranges_in_the_trace(traced: TracedRun) -> None:
    names = [event["name"] for event in traced.whole["traceEvents"]]
    assert names.count("forward") == 3
    assert "aten::convolution" in names


def test_only_two_files_are_written(traced: TracedRun) -> None:
    assert {path.name for path in traced.folder.iterdir()} == {"trace.json.gz", "operators.json"}


def test_a_trace_over_its_cap_lacks_events_and_says_how_many(tmp_path: Path) -> None:
    train(TraceWindow(tmp_path, schedule=TraceSchedule(0, 1, 2), cap_bytes=30_000), 3)
    text = gzip.decompress((tmp_path / "trace.json.gz").read_bytes())
    assert len(text) <= 30_000
    assert json.loads(text)["otherData"]["events_left_out"] > 0


def test_tracing_changes_no_weight(tmp_path: Path) -> None:
    plain, watched = Training(), Training()
    with TraceWindow(tmp_path, schedule=TraceSchedule(0, 1, 2)) as tracing:
        for _ in range(4):
            plain.step()
            watched.step(tracing)
            tracing.step()
    assert tracing.trace is not None
    for expected, traced in zip(plain.network.parameters(), watched.network.parameters(), strict=True):
        assert torch.equal(expected, traced)


# Short runs


@given(planned=st.integers(3, 10_000))
def test_the_schedule_fits_into_any_run_of_three_steps(planned: int) -> None:
    schedule = TraceSchedule.fit(planned)
    assert schedule.wait <= min(10, planned / 10)
    assert schedule.warmup >= 1
    assert 2 <= schedule.active <= 4
    assert schedule.wait + schedule.warmup + schedule.active <= planned


def test_schedules_of_short_and_long_runs() -> None:
    assert TraceSchedule.fit(0) == TraceSchedule.fit(1000) == TraceSchedule(10, 2, 4)
    assert TraceSchedule.fit(40) == TraceSchedule(4, 2, 4)
    assert TraceSchedule.fit(8) == TraceSchedule(0, 2, 4)
    assert TraceSchedule.fit(3) == TraceSchedule(0, 1, 2)
    assert TraceSchedule.fit(2) == TraceSchedule(0, 0, 0)


def test_a_run_as_long_as_its_window_is_traced(tmp_path: Path) -> None:
    tracing = TraceWindow(tmp_path, planned_steps=3)
    train(tracing, 3)
    assert tracing.trace is not None
    assert (tracing.trace.first, tracing.trace.last) == (2, 3)


def test_under_three_steps_there_is_no_trace_but_a_reason(tmp_path: Path) -> None:
    tracing = TraceWindow(tmp_path, planned_steps=2)
    train(tracing, 2)
    assert tracing.trace is None
    assert tracing.no_trace_reason == "too few steps to trace: 2; tracing needs at least 3"
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_ends_early_keeps_the_steps_that_were_traced(tmp_path: Path) -> None:
    tracing = TraceWindow(tmp_path, schedule=TraceSchedule(1, 1, 6))
    train(tracing, 4)
    assert tracing.trace is not None
    assert (tracing.trace.first, tracing.trace.last) == (3, 4)
    assert (tmp_path / "trace.json.gz").is_file()


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_run_that_ends_before_a_step_was_traced_has_no_trace_but_a_reason(tmp_path: Path, steps: int) -> None:
    tracing = TraceWindow(tmp_path, schedule=TraceSchedule(1, 1, 6))
    train(tracing, steps)
    assert tracing.trace is None
    assert tracing.no_trace_reason == "the run ended before a step was traced"
    assert list(tmp_path.iterdir()) == []


# Failures inside


def test_a_folder_that_cannot_be_written_ends_the_trace_and_not_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "profile"
    blocked.write_text("a file where a folder should be")
    tracing = TraceWindow(blocked, schedule=TraceSchedule(0, 1, 2))
    train(tracing, 6)
    assert tracing.failure == tracing.no_trace_reason != ""
    assert len(caplog.records) == 1
    later = TraceWindow(tmp_path / "later", schedule=TraceSchedule(0, 1, 2))  # torch's profiler is free again
    train(later, 3)
    assert later.trace is not None


def test_a_profiler_that_does_not_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(**_: object) -> None:
        raise RuntimeError("Can't profile, another one is running")

    monkeypatch.setattr("clearsight.profiler.trace.TorchProfile", busy)
    tracing = TraceWindow(tmp_path, schedule=TraceSchedule(0, 1, 2))
    train(tracing, 4)
    assert tracing.failure == "the profiler's tracing: RuntimeError: Can't profile, another one is running"


# On a GPU: events like those of torch.profiler, made by hand


def event(name: str, device: str = "CPU", *, self_us: float = 0.0, children: tuple[Any, ...] = (), **more: Any) -> Any:
    values = {
        "name": name,
        "is_user_annotation": False,
        "device_type": SimpleNamespace(name=device),
        "self_cpu_time_total": self_us,
        "cpu_time_total": self_us,
        "self_device_time_total": 0.0,
        "device_time_total": 0.0,
        "self_device_memory_usage": 0,
        "self_cpu_memory_usage": 0,
        "cpu_children": children,
    }
    return SimpleNamespace(**{**values, **more})


def test_on_a_gpu_kernels_are_its_activities_without_copies() -> None:
    events = [
        event("aten::addmm", self_us=20, self_device_time_total=300.0, self_device_memory_usage=4096),
        event("cudaLaunchKernel", self_us=5),
        event("sgemm_128x64", "CUDA", device_time_total=300.0),
        event("Memcpy HtoD (Pinned -> Device)", "CUDA", device_time_total=50.0),
        event("forward", "CUDA", is_user_annotation=True, device_time_total=900.0),
    ]
    operators, kernels, seconds = summary(events, cuda=True)
    assert (kernels, seconds) == (1, pytest.approx(300e-6))
    assert [operator.name for operator in operators] == ["aten::addmm", "cudaLaunchKernel"]
    assert operators[0].device_seconds == pytest.approx(300e-6)
    assert operators[0].memory_bytes == 4096


# TracedStepTimer


def test_a_few_steps_are_traced_and_all_are_timed(tmp_path: Path) -> None:
    loop = Loop()
    timer = TracedStepTimer(StepTimer(StepLog(tmp_path / "spans.jsonl")), tmp_path)
    timer.start()
    images, labels = next(iter(loop.loader))
    for step in range(1, 21):
        with timer.phase("forward"):
            loss = loop.loss(images, labels)
        with timer.phase("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        timer.step(step, 1, 2)
    timer.close()
    profile = read_profile(tmp_path)
    assert len(profile.steps()) == 20
    assert profile.trace is not None
    assert (profile.trace.first, profile.trace.last) == (13, 16)
    assert "aten::addmm" in {operator.name for operator in profile.trace.operators}
    assert (tmp_path / "trace.json.gz").is_file()


def test_a_process_that_ends_before_the_window_has_no_trace(tmp_path: Path) -> None:
    timer = TracedStepTimer(StepTimer(StepLog(tmp_path / "spans.jsonl")), tmp_path)
    timer.start()
    with timer.phase("forward"):
        timer.cut()
    timer.close()
    assert read_profile(tmp_path).trace is None


# Trace files

NAMES = [{"ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": {"name": f"thread {tid}"}} for tid in (1, 2)]


def trace_of(events: int) -> dict[str, Any]:
    """Return events of 1, 2, ... microseconds in a mixed order, each with an instant."""
    entries: list[dict[str, Any]] = list(NAMES)
    for number in range(events):
        us = 1 + number * 7 % events
        entries.append({"ph": "X", "name": f"aten::op{us}", "pid": 1, "tid": 1, "ts": number * 100, "dur": us})
        entries.append({"ph": "i", "name": "[memory]", "pid": 1, "tid": 1, "ts": number * 100})
    return {"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": entries}


def written(folder: Path, whole: dict[str, Any], cap_bytes: int) -> tuple[bytes, int]:
    source, target = folder / "trace.json", folder / "out" / "trace.json.gz"
    source.write_text(json.dumps(whole))
    left_out = write_trace_file(source, target, cap_bytes)
    return gzip.decompress(target.read_bytes()), left_out


def test_a_trace_that_fits_is_unchanged(tmp_path: Path) -> None:
    text, left_out = written(tmp_path, trace_of(100), 1 << 20)
    assert json.loads(text) == trace_of(100)
    assert left_out == 0


@pytest.mark.parametrize("cap_bytes", [8_000, 20_000, 60_000])
def test_above_the_cap_the_shortest_events_are_left_out_and_counted(tmp_path: Path, cap_bytes: int) -> None:
    text, left_out = written(tmp_path, trace_of(500), cap_bytes)
    loaded = json.loads(text)
    assert len(text) <= cap_bytes
    timed = [event for event in loaded["traceEvents"] if event["ph"] != "M"]
    assert left_out == 1000 - len(timed) > 0
    assert loaded["otherData"]["events_left_out"] == left_out
    longest = loaded["otherData"]["longest_left_out_us"]
    assert all(event.get("dur", 0) >= longest for event in timed)
    assert [event for event in loaded["traceEvents"] if event["ph"] == "M"] == NAMES
    assert [event["ts"] for event in timed] == sorted(event["ts"] for event in timed)
    assert loaded["schemaVersion"] == 1


def test_under_a_tiny_cap_only_names_remain(tmp_path: Path) -> None:
    text, left_out = written(tmp_path, trace_of(500), 100)
    assert json.loads(text)["traceEvents"] == NAMES
    assert left_out == 1000


def test_a_source_that_is_no_trace_leaves_no_file(tmp_path: Path) -> None:
    source = tmp_path / "trace.json"
    source.write_text("not a trace at all")
    with pytest.raises(ValueError, match="Expecting value"):
        write_trace_file(source, tmp_path / "trace.json.gz", 4)
    assert list(tmp_path.iterdir()) == [source]
