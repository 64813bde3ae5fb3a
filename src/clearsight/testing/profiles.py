"""Profiles written by hand: the measurements of a run of a known shape, for the tests of rules and pages.

T gauge samples, S steps.

    slow = profile(steps=200, seconds=0.3, phases={"data": 0.2, "forward": 0.04, "backward": 0.05}, gauges={"cpu": 40})
    assert verdict(DataWait(), profiled(slow)) == "found"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.profile import Floats, GaugeSample, Machine, Profile, Span, StepTimes, Trace
from clearsight.debugger.storage.tape import Tape

Values = float | Sequence[float] | Floats

START = 1_700_000_000.0  # UNIX seconds at which the first step begins by default
GIB = 2**30

CPU_MACHINE = Machine(
    cores=8,
    threads=8,
    workers=8,
    reading="threads",
    memory_bytes=32 * GIB,
    shm_bytes=16 * GIB,
    device="cpu",
    precision="fp32",
    channels_last=True,
    pixels_kept=True,
    batch_size=32,
    batch_bytes=32 * 3 * 224 * 224 * 4,  # float32 images
)
"""Eight cores, no GPU, with the settings that clearsight chooses."""

GPU_MACHINE = replace(CPU_MACHINE, gpus=1, device="cuda", name="NVIDIA A10G", precision="bf16")
"""The same with one GPU."""


def profile(
    *,
    steps: int = 200,
    seconds: Values = 0.1,
    phases: Mapping[str, Values] | None = None,
    load: Mapping[str, Values] | None = None,
    gauges: Mapping[str, Values] | None = None,
    every: float = 0.5,
    spans: Sequence[Span] = (),
    machine: Machine | None = None,
    device: Mapping[str, Values] | None = None,
    padding: Values | None = None,
    trace: Trace | None = None,
    samples: Values = 32,
    start: float = START,
    per_epoch: int = 50,
    pauses: Mapping[str, Mapping[int, float]] | None = None,
    initialisation: float = 5.0,
    noise: float = 0.0,
    seed: int = 0,
) -> Profile:
    """Build a profile whose times agree: steps follow each other from `start` on, and gauge samples cover them.

    seconds, phases, load, device, padding, samples: one value for all steps or one per step, (S,); fewer are spread
    evenly over the run, so that `[0.1, 0.3]` is a run of two halves. NaN: not measured at that step.
    gauges: by name, one value or several that are spread evenly over the samples while steps run; samples before the
    first step hold the first value. NaN: absent from that sample. {} or None: no samples.
    every: seconds between samples, the first at the launch of the process and the last at or after the last step's end.
    spans: as they are, in absolute time.  pauses: spans between steps, name -> after which step (from 1) -> seconds,
    such as {"validation": {50: 2.0}}; later steps begin after them.
    initialisation: seconds from the launch to the first step; a span unless 0.  per_epoch: steps of an epoch.
    machine: CPU_MACHINE by default; `launched` and `interval` are filled in if they are 0.
    noise: relative spread of times and gauges, those in per cent within [0, 100]; the same for the same seed.
    """
    rng = np.random.default_rng(seed)
    pause_seconds = _pause_seconds(pauses or {}, steps)
    factors = 1 + noise * np.clip(rng.standard_normal(steps), -3, 3)  # clipped, so that no step becomes an outlier
    durations = _spread(seconds, steps) * factors
    starts = start + np.cumsum(pause_seconds[:-1]) + np.cumsum(durations) - durations
    borders = _spread(np.nan if padding is None else padding, steps)  # NaN becomes None: not measured
    parts = [_step_parts(values or {}, factors) for values in (phases, device, load)]
    step_times = _step_times(zip(starts, durations, _spread(samples, steps), borders, *parts, strict=True), per_epoch)
    # Gauges are read from the launch on.
    launch, end = start - initialisation, start + float(pause_seconds.sum() + durations.sum())
    times = launch + every * np.arange(int(np.ceil((end - launch) / every)) + 1, dtype=np.float64)
    gauge_samples = _gauge_samples(gauges or {}, times, start, rng, noise)
    all_spans = [*_pause_spans(pauses or {}, step_times, per_epoch), *spans]
    if initialisation:
        all_spans.insert(0, Span(name="initialisation", start=launch, seconds=initialisation))
    machine = machine or CPU_MACHINE
    machine = replace(machine, launched=machine.launched or launch, interval=machine.interval or every)
    return Profile(machine, gauge_samples, step_times, sorted(all_spans, key=lambda span: span.start), trace)


def profiled(measured: Profile, *, context: RunContext | None = None, ended: bool = True) -> Tape:
    """Return the view of a run with that profile. context: `context_of(measured)` by default."""
    return Tape(context or context_of(measured), ended=ended, profile=measured)


def context_of(measured: Profile) -> RunContext:
    """Return the context of a run with this profile: its plan, and as `settings` the machine's values."""
    table, machine = measured.steps(), measured.machine
    epochs = int(table.epochs[-1]) if len(table) else 0
    first = table.epochs == 1  # the last epoch may be incomplete
    settings = {  # rules fix only settings that they know
        "batch_size": machine.batch_size or None,
        "workers": machine.workers,
        "threads": machine.threads or None,
        "precision": machine.precision or "auto",
        "channels_last": {True: "on", False: "off", None: "auto"}[machine.channels_last],
        "keep_pixels": bool(machine.pixels_kept),
        "image_size": 224,
        "augment": "light",
        "feature_cache": True,
    }
    return RunContext(
        steps=len(table),
        epochs=epochs,
        steps_per_epoch=int(first.sum()),
        batch_size=machine.batch_size,
        train_size=int(table.samples[first].sum()),
        settings=settings,
    )


def healthy_cpu(*, steps: int = 300, seed: int = 0) -> Profile:
    """Build a run on eight cores at full speed: the cores compute, and batches are ready in time."""
    return profile(
        steps=steps,
        seconds=0.2,
        phases={
            "data": 0.004, "forward": 0.07, "loss": 0.001, "backward": 0.11, "optimizer": 0.008, "hook": 0.001,
        },
        # Loading takes less than the step: it is hidden behind computing.
        load={"read": 0.01, "decode": 0.12, "augment": 0.05, "collate": 0.01, "images": 32, "bytes": 32 * 60_000},
        gauges={
            # Per cent, bytes, bytes per second, switches per second, MHz: as in GaugeSample.
            "cpu": 93.0, **{f"cpu{core}": 93.0 for core in range(8)}, "cpu.iowait": 0.4, "cpu.clock": 2900.0,
            "tree.cpu": 92.0, "tree.memory": 3.0 * GIB, "tree.processes": 1.0, "tree.threads": 40.0,
            "tree.switches": 60.0, "memory": 30.0, "memory.available": 22.0 * GIB, "swap": 0.5, "shm": 0.5,
            "disk.read": 8e6, "disk.write": 1e5, "tree.read": 8e6, "net.received": 1e4, "net.sent": 1e4,
        },
        pauses=_epoch_pauses(steps),
        padding=0.01,
        noise=0.03,
        seed=seed,
    )  # fmt: skip


def healthy_gpu(*, steps: int = 300, gpus: int = 1, seed: int = 0) -> Profile:
    """Build a run that keeps its GPUs busy and their memory well filled, with free cores for the loader workers."""
    gpu_values: dict[str, Values] = {}
    for gpu in range(gpus):
        gpu_values |= {
            # An A10G at work: 23 GiB of memory, up to 300 W.
            f"gpu{gpu}": 94.0, f"gpu{gpu}.memory": 82.0, f"gpu{gpu}.memory_bytes": 19.0 * GIB,
            f"gpu{gpu}.power": 230.0, f"gpu{gpu}.clock": 1700.0, f"gpu{gpu}.temperature": 64.0,
            f"gpu{gpu}.pcie_received": 4e8, f"gpu{gpu}.pcie_sent": 2e7,
        }  # fmt: skip
    return profile(
        steps=steps,
        seconds=0.2,
        phases={
            "data": 0.003, "transfer": 0.003, "forward": 0.05, "loss": 0.001, "backward": 0.08, "optimizer": 0.05,
            "hook": 0.001,
        },
        device={"transfer": 0.003, "forward": 0.06, "loss": 0.001, "backward": 0.12, "optimizer": 0.009},
        # 0.75 s of work a step on eight workers: less than the step, so batches wait.
        load={"read": 0.02, "decode": 0.5, "augment": 0.2, "collate": 0.03, "images": 128, "bytes": 128 * 60_000},
        gauges={
            "cpu": 55.0, **{f"cpu{core}": 55.0 for core in range(8)}, "cpu.iowait": 0.5, "cpu.clock": 2900.0,
            "tree.cpu": 52.0, "tree.memory": 5.0 * GIB, "tree.processes": 1.0, "tree.threads": 40.0,
            "tree.switches": 60.0, "memory": 35.0, "memory.available": 20.0 * GIB, "swap": 0.5, "shm": 0.5,
            "disk.read": 3e7, "disk.write": 1e5, "tree.read": 3e7, "net.received": 1e4, "net.sent": 1e4,
            **gpu_values,
        },
        samples=128,
        machine=replace(GPU_MACHINE, gpus=gpus, batch_size=128, batch_bytes=128 * 3 * 224 * 224 * 4),
        pauses=_epoch_pauses(steps),
        padding=0.01,
        noise=0.02,
        seed=seed,
    )  # fmt: skip


def _step_parts(values: Mapping[str, Values], factors: Floats) -> list[dict[str, float]]:
    """Return values by name, one mapping per step. factors: (S,) noise of each step, the same for all its parts."""
    columns = {name: _spread(column, len(factors)) for name, column in values.items()}
    # Counts stay exact; only durations vary.
    noisy = {name: column if name in ("images", "bytes") else column * factors for name, column in columns.items()}
    return _rows(noisy, len(factors))


def _rows(columns: Mapping[str, Floats], count: int) -> list[dict[str, float]]:
    """Return columns by name, (count,) each, as one mapping per row, without the values that are NaN."""
    return [{name: float(c[i]) for name, c in columns.items() if not np.isnan(c[i])} for i in range(count)]


def _spread(values: Values, count: int) -> Floats:
    """Return values over `count` places, each for an equal share of them; (count,)."""
    sequence = np.atleast_1d(np.asarray(values, np.float64))
    return sequence[(np.arange(count) * len(sequence)) // max(count, 1)] if len(sequence) != count else sequence.copy()


def _step_times(table: Iterable[tuple[Any, ...]], per_epoch: int) -> list[StepTimes]:
    """Return one StepTimes per row: start, seconds, samples, padding (NaN if not measured), phases, device, load."""
    return [
        StepTimes(
            step=i + 1,
            epoch=i // per_epoch + 1,
            start=float(start),
            seconds=float(seconds),
            samples=int(samples),
            padding=None if np.isnan(padding) else float(padding),
            phases=phases,
            device=device,
            load=load,
        )
        for i, (start, seconds, samples, padding, phases, device, load) in enumerate(table)
    ]


def _gauge_samples(
    gauges: Mapping[str, Values], times: Floats, start: float, rng: np.random.Generator, noise: float
) -> list[GaugeSample]:
    """Return one sample per time, (T,). start: of the first step."""
    if not gauges:
        return []
    before = int((times < start).sum())
    columns = {}
    for name, values in gauges.items():
        during = _spread(values, len(times) - before)
        factors = 1 + noise * np.clip(rng.standard_normal(len(times)), -3, 3)
        # Before the first step nothing trains: the first value stands for the launch.
        column = np.concatenate([np.full(before, during[0]), during]) * factors
        columns[name] = np.clip(column, 0, 100) if _is_percentage(name) else column
    rows = _rows(columns, len(times))
    return [GaugeSample(time=float(time), values=values) for time, values in zip(times, rows, strict=True)]


def _is_percentage(name: str) -> bool:
    family, _, suffix = name.partition(".")
    if family.rstrip("0123456789") in ("cpu", "gpu"):
        return suffix in ("", "iowait", "memory")
    return name in ("tree.cpu", "memory", "swap", "shm")


def _pause_seconds(pauses: Mapping[str, Mapping[int, float]], steps: int) -> Floats:
    """Return the seconds of pause after 0, 1, ... steps; (S + 1,)."""
    totals = np.zeros(steps + 1)  # one more than steps: a pause may come before the first
    for seconds_after in pauses.values():
        for step, seconds in seconds_after.items():
            totals[step] += seconds
    return totals


def _pause_spans(pauses: Mapping[str, Mapping[int, float]], steps: Sequence[StepTimes], per_epoch: int) -> list[Span]:
    """Return the spans between steps; several after the same step follow each other."""
    spans, ends = [], {step.step: step.start + step.seconds for step in steps}
    for name, seconds_after in pauses.items():
        for step, seconds in seconds_after.items():
            epoch = (step - 1) // per_epoch + 1
            spans.append(Span(name=name, start=ends[step], seconds=seconds, step=step, epoch=epoch))
            ends[step] += seconds  # the next pause after the same step begins there
    return spans


def _epoch_pauses(steps: int) -> dict[str, dict[int, float]]:
    ends = range(50, steps + 1, 50)
    return {"validation": dict.fromkeys(ends, 2.0), "checkpoint": dict.fromkeys(ends, 0.2)}
