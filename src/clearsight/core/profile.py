"""Profile: what a machine did while a network trained. T gauge samples, S training steps.

Three kinds of measurement, all plain values: a GaugeSample holds the gauges of the machine at one moment, a StepTimes
holds where one training step spent its time, a Span is a named time outside of the steps. Times are seconds since 1970
(UNIX), durations are seconds. What a machine does not have is absent, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import FiniteFloat

from clearsight.core.records import read_record
from clearsight.core.registry import Former

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Phases of a training step on the training thread, in their order. They do not overlap: where one runs inside another
# (the transfer of a batch during the wait for it), its time counts for the inner one alone.
PHASES = ("data", "transfer", "forward", "loss", "backward", "optimizer", "hook")
# Parts of making a batch, wherever they run: on loader threads, in worker processes, or in the training thread.
LOAD_PARTS = ("read", "decode", "augment", "collate")
# Spans outside of training steps. "initialisation" lasts from the start of the process to the first step; "features",
# the pass over the images through a frozen backbone, is within it.
SPAN_NAMES = ("initialisation", "features", "validation", "checkpoint", "finalisation")


@dataclass(frozen=True, kw_only=True, slots=True)
class GaugeSample:
    """Gauges of the machine at one moment; `values` by name, in per cent [0, 100], bytes, or the unit given here.

    cpu: mean over the cores this job may use, and cpu0, cpu1, ... each of them.  cpu.iowait: share of their time spent
    waiting for I/O.  cpu.clock: MHz.  cpu.temperature: degrees Celsius.
    tree.cpu: share of the cores used by the process and its children.  tree.memory: their resident bytes.
    tree.processes, tree.threads: counts.  tree.switches: involuntary context switches per second.
    memory: share in use.  memory.available: bytes.  swap, shm: share in use (shm: of /dev/shm).
    disk.read, disk.write, net.received, net.sent, tree.read: bytes per second.  disk.reads, disk.writes: per second.
    gpu0: utilisation, gpu0.memory: share in use, gpu0.memory_bytes, gpu0.power: W, gpu0.clock: MHz,
    gpu0.temperature, gpu0.pcie_received, gpu0.pcie_sent: bytes per second; and so on for gpu1, ...
    """

    time: float
    values: Mapping[str, float]
    rank: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimes:
    """One training step: `seconds` from the request for its batch to its end, on the training thread.

    samples: images of the step, those of all accumulated batches.  phases: seconds by name, of PHASES; the rest of the
    step is in none of them.  device: the same by the GPU's own clock, {} on a CPU.  load: seconds by name, of
    LOAD_PARTS, that all loader workers together spent since the step before, with "images" and "bytes" that they made
    and read; {} if unknown.  padding: share of the input pixels that are a border of one colour, None if not measured.
    """

    step: int
    epoch: int
    start: FiniteFloat
    seconds: FiniteFloat
    samples: int = 0
    phases: Mapping[str, float] = field(default_factory=dict)
    device: Mapping[str, float] = field(default_factory=dict)
    load: Mapping[str, float] = field(default_factory=dict)
    padding: float | None = None
    rank: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A named time outside of the steps, of SPAN_NAMES or a name of the user's; step, epoch: done when it began."""

    name: str
    start: FiniteFloat
    seconds: FiniteFloat
    step: int = 0
    epoch: int = 0
    rank: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """Cost of one kind of operator in the traced steps: all calls together, without the operators inside it."""

    name: str
    calls: int
    cpu_seconds: float
    device_seconds: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """Operators of the traced steps `first` to `last`, which took `seconds` together.

    kernels, kernel_seconds: on a GPU, launches and their time; on a CPU, leaf operators.
    peak_bytes: largest memory that tensors held, 0 if unknown.
    """

    first: int
    last: int
    seconds: float
    operators: tuple[Operator, ...] = ()
    kernels: int = 0
    kernel_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def steps(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Hardware that the job ran on, and its settings. 0, "" and None mean: unknown.

    cores: that the job may use.  threads: of torch, for one operator.  workers: loader workers; reading: where batches
    are made, in "threads", in "processes", or "here" for the training thread itself.  device: "cpu" or "cuda";
    name: the GPU's product name.  batch_bytes: of one batch as it is handed to training.  prefetch: batches made ahead,
    per worker process.  pixels_kept: whether decoded images stay in memory between epochs.
    launched: start of the process.  interval: seconds between gauge samples.
    """

    cores: int = 0
    threads: int = 0
    workers: int | None = None
    reading: str = ""
    prefetch: int = 0
    memory_bytes: int = 0
    shm_bytes: int = 0
    gpus: int = 0
    device: str = ""
    name: str = ""
    precision: str = ""
    channels_last: bool | None = None
    pixels_kept: bool | None = None  # a key of machine.json
    batch_size: int = 0
    batch_bytes: int = 0
    launched: float = 0.0
    interval: float = 0.0
    ranks: int = 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str = "machine") -> Machine:
        """Read the values of `to_json`, without keys of a newer version; raises BadData on `source` for others."""
        return read_record(cls, values, source)


@dataclass(frozen=True, slots=True)
class GaugeSeries:
    """One gauge over time, at the samples that hold it: times (T,) and values (T,), all finite."""

    times: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class StepColumns:
    """Base of tables with a row for each of S steps; all columns are arrays (S, ...), int64 or float64."""

    steps: Ints
    epochs: Ints

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class StepTable(StepColumns):
    """Training steps of one rank in order, all (S,). padding is NaN where it was not measured."""

    starts: Floats
    seconds: Floats
    samples: Ints
    padding: Floats


class Profile:
    """All measurements of a run, as columns. Whatever was not measured is an empty array, never an error.

    gauge_samples, in order of time, step_times and all_spans: of all ranks.
    rank: a process of a distributed run; gauges of GPUs are those that this process can see.
    """

    def __init__(
        self,
        machine: Machine | None = None,
        gauge_samples: Sequence[GaugeSample] = (),
        step_times: Sequence[StepTimes] = (),
        spans: Sequence[Span] = (),
        trace: Trace | None = None,
    ) -> None:
        self.machine, self.trace = machine or Machine(), trace
        self.gauge_samples, self.step_times, self.all_spans = gauge_samples, step_times, spans

    looks = Former[Sequence[GaugeSample]]("gauge_samples")
    timed = Former[Sequence[StepTimes]]("step_times")
    stretches = Former[Sequence[Span]]("all_spans")

    def __bool__(self) -> bool:
        return bool(self.gauge_samples or self.step_times or self.all_spans)

    def ranks(self) -> tuple[int, ...]:
        """Return the ranks that measured anything."""
        return tuple(sorted({sample.rank for sample in self.gauge_samples} | {step.rank for step in self.step_times}))

    def gauges(self, rank: int = 0) -> tuple[str, ...]:
        """Return the names of the gauges that were read at least once, in the order of their first sample."""
        samples = (sample for sample in self.gauge_samples if sample.rank == rank)
        return tuple(dict.fromkeys(name for sample in samples for name in sample.values))

    def gauge(self, name: str, rank: int = 0) -> GaugeSeries:
        points = [(s.time, s.values[name]) for s in self.gauge_samples if s.rank == rank and name in s.values]
        table = np.array(points, np.float64).reshape(-1, 2)
        table = table[np.isfinite(table).all(axis=1)]  # a sensor may answer NaN
        return GaugeSeries(table[:, 0], table[:, 1])

    def devices(self, rank: int = 0) -> tuple[str, ...]:
        """Return the gauges of the devices that compute: gpu0, gpu1, ... if any, else tree.cpu, else cpu."""
        names = self.gauges(rank)
        # Digits alone after gpu: gpu0.memory is another gauge of the same device.
        if gpus := tuple(name for name in names if name.startswith("gpu") and name[3:].isdigit()):
            return gpus
        # Tree.cpu: other programs do not count.
        return next(((name,) for name in ("tree.cpu", "cpu") if name in names), ())

    def steps(self, rank: int = 0) -> StepTable:
        rows = [s for s in self.step_times if s.rank == rank]
        return StepTable(
            np.array([s.step for s in rows], np.int64),
            np.array([s.epoch for s in rows], np.int64),
            np.array([s.start for s in rows], np.float64),
            np.array([s.seconds for s in rows], np.float64),
            np.array([s.samples for s in rows], np.int64),
            np.array([np.nan if s.padding is None else s.padding for s in rows], np.float64),
        )

    def phase(self, name: str, rank: int = 0, *, device: bool = False) -> Floats:
        """Return the seconds of each timed step in a phase, (S,), NaN if not timed. device: by the GPU's clock."""
        rows = [s.device if device else s.phases for s in self.step_times if s.rank == rank]
        return np.array([row.get(name, np.nan) for row in rows], np.float64)

    def phases(self, rank: int = 0) -> tuple[str, ...]:
        """Return the phases that were timed at all, those of PHASES first and in their order."""
        seen = dict.fromkeys(name for s in self.step_times if s.rank == rank for name in s.phases)
        return (*(name for name in PHASES if name in seen), *(name for name in seen if name not in PHASES))

    def load(self, part: str, rank: int = 0) -> Floats:
        """Return (S,), the seconds of loader workers in a part since the step before, or "images", "bytes"; or NaN."""
        return np.array([s.load.get(part, np.nan) for s in self.step_times if s.rank == rank], np.float64)

    def spans(self, name: str, rank: int = 0) -> list[Span]:
        return [span for span in self.all_spans if span.name == name and span.rank == rank]

    def within(self, series: GaugeSeries, rank: int = 0) -> GaugeSeries:
        """Return the part of a gauge from the start of the first training step to the end of the last."""
        table = self.steps(rank)
        if not len(table):
            return GaugeSeries(np.empty(0), np.empty(0))
        first, last = table.starts[0], table.starts[-1] + table.seconds[-1]
        inside = (series.times >= first) & (series.times <= last)
        return GaugeSeries(series.times[inside], series.values[inside])

    def step_at(self, time: float, rank: int = 0) -> int:
        """Return the training step that ran, or began last, at a time; 0 before the first."""
        table = self.steps(rank)
        place = int(np.searchsorted(table.starts, time, side="right"))
        return int(table.steps[place - 1]) if place else 0

    def until(self, step: int) -> Profile:
        """Return the profile as it was after `step` training steps."""
        steps = [s for s in self.step_times if s.step <= step]
        if len(steps) == len(self.step_times):  # of a whole run, also the samples and spans behind its last step
            return self
        end = max((s.start + s.seconds for s in steps), default=0.0)
        trace = self.trace if self.trace is not None and self.trace.last <= step else None
        samples = [sample for sample in self.gauge_samples if sample.time <= end]
        return Profile(self.machine, samples, steps, [span for span in self.all_spans if span.start <= end], trace)
