"""Metrics of a job as a Profile: system metrics of the machine, and timelines where smdebug has written some."""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from clearsight.core.machine import cores
from clearsight.core.profile import GaugeSample, Machine, Profile, Span, StepTimes
from clearsight_sagemaker.training.objects import Objects, join_uri, split_uri
from smdebug.exceptions import CorruptFile
from smdebug.profiler.trace_event_file_parser import TraceEvent, read_trace

Row = TypeVar("Row")
_TRAIN, _EVAL, _FORWARD = "Step:ModeKeys.TRAIN", "Step:ModeKeys.EVAL", "Forward"
_GAUGES = {"MemoryUsedPercent": "memory", "BytesReceived": "net.received", "BytesSent": "net.sent"}
_MOST_BYTES = 64 << 20  # of a timeline: the script may have written anything there


class JobMetrics:
    """Files of a profiler-output, of a job that may still run. uri: its address."""

    def __init__(self, uri: str, objects: Objects) -> None:
        self._uri, self._objects = uri, objects
        # What a file holds, by its key and its size: most files never change again.
        self._samples: dict[tuple[str, int], list[GaugeSample]] = {}
        self._events: dict[tuple[str, int], list[TraceEvent]] = {}

    def profile(self) -> Profile:
        """Return what the files say now. Raises S3Error, OSError."""
        self._samples = self._read(self._samples, lambda content: list(_samples(content.decode())), "system")
        self._events = self._read(self._events, _trace_events, "framework", "pevents")
        samples = [sample for part in self._samples.values() for sample in part]
        events = [event for part in self._events.values() for event in part]
        samples.sort(key=lambda sample: sample.time)
        names = {name for sample in samples[:1] for name in sample.values}
        gpus = len([name for name in names if name[:3] == "gpu" and name[3:].isdigit()])
        machine = Machine(cores=cores(), gpus=gpus, device="cuda" if gpus else "cpu", interval=_interval(samples))
        return Profile(machine, samples, _steps(events), list(_evaluations(events)))

    def _read(
        self, before: dict[tuple[str, int], list[Row]], parse: Callable[[bytes], list[Row]], *folders: str
    ) -> dict[tuple[str, int], list[Row]]:
        """Return the rows of the files in a folder; those that are as before are not read again."""
        bucket = split_uri(self._uri)[0]
        found = {}
        for stored in self._objects.keys(join_uri(self._uri, *folders, "")):
            file_state = (stored.key, stored.size)
            if file_state not in before:
                with self._objects.opened(f"s3://{bucket}/{stored.key}") as (_, file):
                    found[file_state] = parse(file.read(_MOST_BYTES))
            else:
                found[file_state] = before[file_state]
        return found


def _trace_events(content: bytes) -> list[TraceEvent]:
    try:
        return list(read_trace(content, "algo-1"))
    except CorruptFile:  # the job's own file, such as one that a kill cut short: the others count
        return []


def _samples(text: str) -> Iterator[GaugeSample]:
    """Yield the readings of a file of system metrics, those of one moment as one."""
    rows: dict[float, list[dict[str, Any]]] = {}
    for line in text.splitlines():
        row = json.loads(line)
        rows.setdefault(float(row["Timestamp"]), []).append(row)
    for time, readings in rows.items():
        values: dict[str, float] = {}
        by_core: dict[str, list[float]] = {"cpu": [], "cpu.iowait": []}
        for row in readings:
            name, dimension, value = row["Name"], row["Dimension"], float(row["Value"])
            if dimension == "CPUUtilization":
                values[name] = value
                by_core["cpu"].append(value)
            elif dimension == "I/OWaitPercentage":
                by_core["cpu.iowait"].append(value)
            elif dimension == "GPUUtilization":
                values[name] = value
            elif dimension == "GPUMemoryUtilization":
                values[f"{name}.memory"] = value
            elif dimension in _GAUGES:
                values[_GAUGES[dimension]] = value
        values |= {gauge: sum(numbers) / len(numbers) for gauge, numbers in by_core.items() if numbers}
        yield GaugeSample(time=time, values=values)


def _steps(events: Sequence[TraceEvent]) -> list[StepTimes]:
    """Return the training steps of timelines, each with its forward pass."""
    forward = sorted((event.start_time, event.duration) for event in events if event.event_phase == _FORWARD)
    starts = [start for start, _ in forward]
    steps = list[StepTimes]()
    for event in sorted((e for e in events if e.event_phase == _TRAIN), key=lambda event: event.start_time):
        first, last = bisect.bisect_left(starts, event.start_time), bisect.bisect_right(starts, event.end_time)
        inside = sum(duration for _, duration in forward[first:last])
        steps.append(
            StepTimes(
                step=len(steps) + 1,
                epoch=1,
                start=event.start_time / 1e6,
                seconds=event.duration / 1e6,
                phases={"forward": inside / 1e6} if inside else {},
            )
        )
    return steps


def _evaluations(events: Sequence[TraceEvent]) -> Iterator[Span]:
    for event in sorted((e for e in events if e.event_phase == _EVAL), key=lambda event: event.start_time):
        yield Span(name="validation", start=event.start_time / 1e6, seconds=event.duration / 1e6, epoch=1)


def _interval(samples: Sequence[GaugeSample]) -> float:
    if len(samples) < 2:
        return 0.0
    return round((samples[-1].time - samples[0].time) / (len(samples) - 1), 3)
