"""Metrics of a job as a Profile: system metrics of the machine, and timelines where smdebug has written some."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterator, Sequence
from typing import Any

from clearsight.core.machine import cores
from clearsight.core.profile import GaugeSample, Machine, Profile, Span, StepTimes
from clearsight_sagemaker.training.objects import Objects, join_uri, split_uri
from smdebug.exceptions import CorruptFile
from smdebug.profiler.trace_event_file_parser import TraceEvent, read_trace

_TRAIN, _EVAL, _FORWARD = "Step:ModeKeys.TRAIN", "Step:ModeKeys.EVAL", "Forward"
_GAUGES = {"MemoryUsedPercent": "memory", "BytesReceived": "net.received", "BytesSent": "net.sent"}
_MOST_BYTES = 64 << 20  # of a timeline: the script may have written anything there


def job_profile(uri: str, objects: Objects) -> Profile:
    """Return what the files of a profiler-output say. uri: its address. Raises S3Error, OSError."""
    bucket = split_uri(uri)[0]
    samples, events = list[GaugeSample](), list[TraceEvent]()
    for stored in objects.keys(join_uri(uri, "system", "")):
        with objects.opened(f"s3://{bucket}/{stored.key}") as (_, file):
            samples += _samples(file.read().decode())
    for stored in objects.keys(join_uri(uri, "framework", "pevents", "")):
        with objects.opened(f"s3://{bucket}/{stored.key}") as (_, file):
            content = file.read(_MOST_BYTES)
        try:
            events += read_trace(content, "algo-1")
        except CorruptFile:  # the job's own file, such as one that a kill cut short: the others count
            continue
    samples.sort(key=lambda sample: sample.time)
    steps, spans = _steps(events), list(_evaluations(events))
    gpus = len({name for sample in samples[:1] for name in sample.values if name[:3] == "gpu" and name[3:].isdigit()})
    machine = Machine(cores=cores(), gpus=gpus, device="cuda" if gpus else "cpu", interval=_interval(samples))
    return Profile(machine, samples, steps, spans)


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
