"""Profiles written by hand: what the profiler would have measured of a run of a known shape, for the specifications
of rules and pages. T looks at the machine, S steps.

    slow = profile(steps=200, seconds=0.3, phases={"data": 0.2, "forward": 0.04, "backward": 0.05}, gauges={"cpu": 40})
    assert verdict(DataWait(), profiled(slow)) == "found"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.profile import GaugeSample, Machine, Profile, Span, StepTimes, Trace
from clearsight.debugger.storage.tape import Tape

Values = float | Sequence[float] | npt.NDArray[np.float64]

START = 1_700_000_000.0  # when the first step begins, where nothing else is said
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
    batch_bytes=32 * 3 * 224 * 224 * 4,
)
"""Eight cores, no GPU, set up as the product does it."""

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
    """A profile whose times agree: steps follow each other from `start` on, and looks cover all of them.

    seconds, phases, load, device, padding, samples: one value for all steps or one per step, (S,); fewer are spread
    evenly over the run, so that `[0.1, 0.3]` is a run of two halves. NaN: not measured at that step.
    gauges: by name, one value or several that are spread evenly over the looks while steps run; looks before the first
    step show the first value. NaN: absent from that look. {} or None: nobody looked.
    every: seconds between looks, the first at the launch of the process and the last at or after the last step's end.
    spans: stretches as they are, in absolute time.  pauses: stretches between steps, name -> after which step (from 1)
    -> seconds, such as {"validation": {50: 2.0}}; the steps behind wait for them.
    initialisation: seconds from the launch to the first step; a span unless 0.  per_epoch: steps of an epoch.
    machine: CPU_MACHINE where left out; `launched` and `interval` are filled in where they are 0.
    noise: relative spread of times and gauges, those in per cent within [0, 100]; the same for the same seed.
    """
    rng = np.random.default_rng(seed)
    rest = _rests(pauses or {}, steps)
    wobble = 1 + noise * np.clip(rng.standard_normal(steps), -3, 3)
    lasting = _spread(seconds, steps) * wobble
    starts, columns = start + np.cumsum(rest[:-1]) + np.cumsum(lasting) - lasting, _Columns(steps, wobble)
    timed, loaded, on_device = columns.of(phases), columns.of(load), columns.of(device)
    borders, sizes = _spread(padding if padding is not None else np.nan, steps), _spread(samples, steps)
    made = [
        StepTimes(
            step=i + 1,
            epoch=i // per_epoch + 1,
            start=float(starts[i]),
            seconds=float(lasting[i]),
            samples=int(sizes[i]),
            phases=timed[i],
            device=on_device[i],
            load=loaded[i],
            padding=None if np.isnan(borders[i]) else float(borders[i]),
        )
        for i in range(steps)
    ]
    launch, end = start - initialisation, start + float(rest.sum() + lasting.sum())
    looks = _looks(gauges or {}, launch, start, end, every, rng, noise)
    between = [*_before(start, initialisation), *_between(pauses or {}, made, per_epoch), *spans]
    on = _launched(machine or CPU_MACHINE, launch, every)
    return Profile(on, looks, made, sorted(between, key=lambda span: span.start), trace)


def profiled(measured: Profile, *, facts: RunContext | None = None, ended: bool = True) -> Tape:
    """The view of a run with that profile.

    facts: where left out, what the profile itself tells: steps, steps of an epoch, epochs and batch size, with these
    and the machine's own as `settings`, so that fixes have something to build on.
    """
    return Tape(facts or told(measured), ended=ended, profile=measured)


def told(measured: Profile) -> RunContext:
    """What a profile tells of its run."""
    table, on = measured.steps(), measured.machine
    epochs = int(table.epochs[-1]) if len(table) else 0
    first = table.epochs == 1
    settings = {
        "batch_size": on.batch_size or None,
        "workers": on.workers,
        "threads": on.threads or None,
        "precision": on.precision or "auto",
        "channels_last": {True: "on", False: "off", None: "auto"}[on.channels_last],
        "keep_pixels": bool(on.pixels_kept),
        "image_size": 224,
        "augment": "light",
        "feature_cache": True,
    }
    return RunContext(
        steps=len(table),
        epochs=epochs,
        steps_per_epoch=int(first.sum()),
        batch_size=on.batch_size,
        train_size=int(table.samples[first].sum()),
        settings=settings,
    )


def healthy_cpu(*, steps: int = 300, seed: int = 0) -> Profile:
    """A run on eight cores that is as fast as it can be: the cores compute, batches are there when asked for."""
    return profile(
        steps=steps,
        seconds=0.2,
        phases={
            "data": 0.004, "forward": 0.07, "loss": 0.001, "backward": 0.11, "optimizer": 0.008, "hook": 0.001,
        },
        load={"read": 0.01, "decode": 0.12, "augment": 0.05, "collate": 0.01, "images": 32, "bytes": 32 * 60_000},
        gauges={
            "cpu": 93.0, **{f"cpu{core}": 93.0 for core in range(8)}, "cpu.iowait": 0.4, "cpu.clock": 2900.0,
            "tree.cpu": 92.0, "tree.memory": 3.0 * GIB, "tree.processes": 1.0, "tree.threads": 40.0,
            "tree.switches": 60.0, "memory": 30.0, "memory.available": 22.0 * GIB, "swap": 0.5, "shm": 0.5,
            "disk.read": 8e6, "disk.write": 1e5, "tree.read": 8e6, "net.received": 1e4, "net.sent": 1e4,
        },
        pauses=_epochs(steps),
        padding=0.01,
        noise=0.03,
        seed=seed,
    )  # fmt: skip


def healthy_gpu(*, steps: int = 300, gpus: int = 1, seed: int = 0) -> Profile:
    """A run that keeps its GPUs busy and their memory well filled, with cores to spare for the readers."""
    of_gpus: dict[str, Values] = {}
    for gpu in range(gpus):
        of_gpus |= {
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
        load={"read": 0.02, "decode": 0.5, "augment": 0.2, "collate": 0.03, "images": 128, "bytes": 128 * 60_000},
        gauges={
            "cpu": 55.0, **{f"cpu{core}": 55.0 for core in range(8)}, "cpu.iowait": 0.5, "cpu.clock": 2900.0,
            "tree.cpu": 52.0, "tree.memory": 5.0 * GIB, "tree.processes": 1.0, "tree.threads": 40.0,
            "tree.switches": 60.0, "memory": 35.0, "memory.available": 20.0 * GIB, "swap": 0.5, "shm": 0.5,
            "disk.read": 3e7, "disk.write": 1e5, "tree.read": 3e7, "net.received": 1e4, "net.sent": 1e4,
            **of_gpus,
        },
        samples=128,
        machine=replace(GPU_MACHINE, gpus=gpus, batch_size=128, batch_bytes=128 * 3 * 224 * 224 * 4),
        pauses=_epochs(steps),
        padding=0.01,
        noise=0.02,
        seed=seed,
    )  # fmt: skip


class _Columns:
    """Values by name and over steps, turned into one mapping per step."""

    def __init__(self, steps: int, wobble: npt.NDArray[np.float64]) -> None:
        self._steps, self._wobble = steps, wobble

    def of(self, values: Mapping[str, Values] | None) -> list[dict[str, float]]:
        columns = {name: self._column(name, told) for name, told in (values or {}).items()}
        return [
            {name: float(column[i]) for name, column in columns.items() if not np.isnan(column[i])}
            for i in range(self._steps)
        ]

    def _column(self, name: str, values: Values) -> npt.NDArray[np.float64]:
        exact = name in ("images", "bytes")  # counts, no times
        return _spread(values, self._steps) * (1 if exact else self._wobble)


def _spread(values: Values, count: int) -> npt.NDArray[np.float64]:
    """Values over `count` places, each for an equal share of them; (count,)."""
    given = np.atleast_1d(np.asarray(values, np.float64))
    return given[(np.arange(count) * len(given)) // max(count, 1)] if len(given) != count else given.copy()


def _looks(
    gauges: Mapping[str, Values],
    launch: float,
    start: float,
    end: float,
    every: float,
    rng: np.random.Generator,
    noise: float,
) -> list[GaugeSample]:
    if not gauges:
        return []
    times = launch + every * np.arange(int(np.ceil((end - launch) / every)) + 1)
    before = int((times < start).sum())
    columns = {}
    for name, values in gauges.items():
        inside = _spread(values, len(times) - before)
        wobble = 1 + noise * np.clip(rng.standard_normal(len(times)), -3, 3)
        whole = np.concatenate([np.full(before, inside[0]), inside]) * wobble
        columns[name] = np.clip(whole, 0, 100) if _in_per_cent(name) else whole
    return [
        GaugeSample(time=float(time), values={name: float(c[i]) for name, c in columns.items() if not np.isnan(c[i])})
        for i, time in enumerate(times)
    ]


def _in_per_cent(name: str) -> bool:
    family, _, what = name.partition(".")
    if family.rstrip("0123456789") in ("cpu", "gpu"):
        return what in ("", "iowait", "memory")
    return name in ("tree.cpu", "memory", "swap", "shm")


def _launched(machine: Machine, launch: float, every: float) -> Machine:
    return replace(machine, launched=machine.launched or launch, interval=machine.interval or every)


def _rests(pauses: Mapping[str, Mapping[int, float]], steps: int) -> npt.NDArray[np.float64]:
    """Seconds of pause after 0, 1, ... steps; (S + 1,)."""
    rest = np.zeros(steps + 1)
    for places in pauses.values():
        for after, length in places.items():
            rest[after] += length
    return rest


def _before(start: float, initialisation: float) -> list[Span]:
    return [Span(name="initialisation", start=start - initialisation, seconds=initialisation)] if initialisation else []


def _between(pauses: Mapping[str, Mapping[int, float]], made: Sequence[StepTimes], per_epoch: int) -> list[Span]:
    """Stretches after steps; of several after the same step one follows the other."""
    spans, ends = [], {step.step: step.start + step.seconds for step in made}
    for name, places in pauses.items():
        for after, length in places.items():
            spans.append(
                Span(name=name, start=ends[after], seconds=length, step=after, epoch=(after - 1) // per_epoch + 1)
            )
            ends[after] += length
    return spans


def _epochs(steps: int) -> dict[str, dict[int, float]]:
    ends = range(50, steps + 1, 50)
    return {"validation": dict.fromkeys(ends, 2.0), "checkpoint": dict.fromkeys(ends, 0.2)}
