"""Profile: what a machine did while a network trained. T looks at the machine, S training steps.

Three kinds of measurement, all plain values: a Gauge is one look at the machine, a StepTimes is where one training step
spent its time, a Span is a stretch of time outside of steps. Times are seconds since 1970 (UNIX), durations seconds.
What a machine does not have is absent, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Phases of a training step on the training thread, in the order in which they come. They do not overlap: where one lies
# in another (the transfer of a batch in the wait for it) the inner one's time is its own alone.
PHASES = ("data", "transfer", "forward", "loss", "backward", "optimizer", "hook")
# Parts of making a batch, wherever that is done: on reader threads, in worker processes, or in the training thread.
LOAD_PARTS = ("read", "decode", "augment", "collate")
# Stretches outside of training steps. "initialisation" lasts from the start of the process to the first step.
SPAN_NAMES = ("initialisation", "validation", "checkpoint", "finalisation")


@dataclass(frozen=True, kw_only=True, slots=True)
class GaugeSample:
    """One look at the machine; `values` by name, in per cent [0, 100], bytes, or what the name says.

    cpu: mean over the cores this job may use, and cpu0, cpu1, ... each of them.  cpu.iowait: share of their time spent
    waiting for I/O.  cpu.clock: MHz.  cpu.temperature: degrees Celsius.
    tree.cpu: share of the cores used by the process and its children.  tree.memory: their resident bytes.
    tree.processes, tree.threads: how many.  tree.switches: involuntary context switches per second.
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
    """One training step: `seconds` from the moment its batch was asked for to its end, on the training thread.

    phases: seconds by name, of PHASES; the rest of the step is in none of them.  device: the same as measured by the
    GPU's own clock, {} on a CPU.  load: seconds by name, of PARTS, that all readers together spent since the step
    before, with "images" and "bytes" that they made and read; {} where that is not known.
    padding: share of the input pixels that are a border of one colour, None where nobody looked.
    """

    step: int
    epoch: int
    start: float
    seconds: float
    samples: int = 0
    phases: Mapping[str, float] = field(default_factory=dict)
    device: Mapping[str, float] = field(default_factory=dict)
    load: Mapping[str, float] = field(default_factory=dict)
    padding: float | None = None
    rank: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A stretch of time with a name, of STRETCHES or one's own; step and epoch: done when it began."""

    name: str
    start: float
    seconds: float
    step: int = 0
    epoch: int = 0
    rank: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """What one kind of operator cost in the traced steps, all calls together and without the operators inside it."""

    name: str
    calls: int
    cpu_seconds: float
    device_seconds: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """The traced steps. kernels, kernel_seconds: on a GPU, launches and their time; on a CPU, leaf operators.

    peak_bytes: memory that tensors held at most, 0 where not known.
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
        """How many steps were traced."""
        return self.last - self.first + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What the job ran on and how it was set up. 0, "" and None mean: not known.

    cores: that the job may use.  threads: of torch, for one operator.  workers: readers of batches; reading: "threads",
    "processes", or "here" for the training thread itself.  device: "cpu" or "cuda"; name: the GPU's own.
    batch_bytes: of one batch as it crosses from readers to training.  prefetch: batches made ahead, per worker process.
    pixels_kept: whether decoded images stay in memory between epochs.  launched: start of the process.
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
    pixels_kept: bool | None = None
    batch_size: int = 0
    batch_bytes: int = 0
    launched: float = 0.0
    interval: float = 0.0  # seconds between looks
    ranks: int = 1

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Machine:
        """What `to_json` gave; keys of a newer version are left out."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


@dataclass(frozen=True, slots=True)
class GaugeSeries:
    """One gauge over time, where it was there: times (T,) and values (T,), all finite."""

    times: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class StepTable:
    """Training steps of one rank in order, all (S,): int64 and float64. padding is NaN where nobody looked."""

    steps: Ints
    epochs: Ints
    starts: Floats
    seconds: Floats
    samples: Ints
    padding: Floats

    def __len__(self) -> int:
        return len(self.steps)


class Profile:
    """Everything that was measured, as columns. Asking for what is not there gives empty arrays, never an error.

    rank: which process of a distributed run is meant; gauges of GPUs are those that this process can see.
    """

    def __init__(
        self,
        machine: Machine | None = None,
        gauges: Sequence[GaugeSample] = (),
        steps: Sequence[StepTimes] = (),
        spans: Sequence[Span] = (),
        trace: Trace | None = None,
    ) -> None:
        self.machine, self.trace = machine or Machine(), trace
        self._gauges, self._steps, self._spans = gauges, steps, spans

    def __bool__(self) -> bool:
        return bool(self._gauges or self._steps or self._spans)

    @property
    def looks(self) -> Sequence[GaugeSample]:
        """Every look at the machine, of all ranks, in order of time."""
        return self._gauges

    @property
    def timed(self) -> Sequence[StepTimes]:
        """Every timed step, of all ranks."""
        return self._steps

    @property
    def stretches(self) -> Sequence[Span]:
        """Every span, of all ranks."""
        return self._spans

    def ranks(self) -> tuple[int, ...]:
        """Ranks that measured anything."""
        return tuple(sorted({look.rank for look in self._gauges} | {step.rank for step in self._steps}))

    def gauges(self, rank: int = 0) -> tuple[str, ...]:
        """Names of the gauges that were read at least once, in the order in which they first came."""
        return tuple(dict.fromkeys(name for look in self._gauges if look.rank == rank for name in look.values))

    def gauge(self, name: str, rank: int = 0) -> GaugeSeries:
        """One gauge over time."""
        points = [(g.time, g.values[name]) for g in self._gauges if g.rank == rank and name in g.values]
        table = np.array(points, np.float64).reshape(-1, 2)
        table = table[np.isfinite(table).all(axis=1)]
        return GaugeSeries(table[:, 0], table[:, 1])

    def devices(self, rank: int = 0) -> tuple[str, ...]:
        """Gauges of the devices that compute: gpu0, gpu1, ... where there are any, else tree.cpu, else cpu."""
        names = self.gauges(rank)
        if gpus := tuple(name for name in names if name.startswith("gpu") and name[3:].isdigit()):
            return gpus
        return next(((name,) for name in ("tree.cpu", "cpu") if name in names), ())

    def steps(self, rank: int = 0) -> StepTable:
        """The timed steps of a rank."""
        rows = [s for s in self._steps if s.rank == rank]
        return StepTable(
            np.array([s.step for s in rows], np.int64),
            np.array([s.epoch for s in rows], np.int64),
            np.array([s.start for s in rows], np.float64),
            np.array([s.seconds for s in rows], np.float64),
            np.array([s.samples for s in rows], np.int64),
            np.array([np.nan if s.padding is None else s.padding for s in rows], np.float64),
        )

    def phase(self, name: str, rank: int = 0, *, device: bool = False) -> Floats:
        """Seconds of each timed step in a phase, (S,); NaN where that phase was not timed. device: by a GPU's clock."""
        rows = [s.device if device else s.phases for s in self._steps if s.rank == rank]
        return np.array([row.get(name, np.nan) for row in rows], np.float64)

    def phases(self, rank: int = 0) -> tuple[str, ...]:
        """Phases that were timed at all, those of PHASES first and in their order."""
        seen = dict.fromkeys(name for s in self._steps if s.rank == rank for name in s.phases)
        return (*(name for name in PHASES if name in seen), *(name for name in seen if name not in PHASES))

    def load(self, part: str, rank: int = 0) -> Floats:
        """What readers spent on a part since the step before (or "images", "bytes"), (S,); NaN where not known."""
        return np.array([s.load.get(part, np.nan) for s in self._steps if s.rank == rank], np.float64)

    def spans(self, name: str, rank: int = 0) -> list[Span]:
        """The stretches of a name."""
        return [span for span in self._spans if span.name == name and span.rank == rank]

    def within(self, readings: GaugeSeries, rank: int = 0) -> GaugeSeries:
        """Of a gauge, what was read while training steps ran (from the first one's start to the last one's end)."""
        table = self.steps(rank)
        if not len(table):
            return GaugeSeries(np.empty(0), np.empty(0))
        first, last = table.starts[0], table.starts[-1] + table.seconds[-1]
        inside = (readings.times >= first) & (readings.times <= last)
        return GaugeSeries(readings.times[inside], readings.values[inside])

    def step_at(self, time: float, rank: int = 0) -> int:
        """The training step that ran, or was last begun, at a time; 0 before the first."""
        table = self.steps(rank)
        place = int(np.searchsorted(table.starts, time, side="right"))
        return int(table.steps[place - 1]) if place else 0

    def until(self, step: int) -> Profile:
        """The profile as it was when `step` training steps were done."""
        steps = [s for s in self._steps if s.step <= step]
        if len(steps) == len(self._steps):
            return self
        end = max((s.start + s.seconds for s in steps), default=0.0)
        trace = self.trace if self.trace is not None and self.trace.last <= step else None
        gauges = [g for g in self._gauges if g.time <= end]
        return Profile(self.machine, gauges, steps, [s for s in self._spans if s.start <= end], trace)
