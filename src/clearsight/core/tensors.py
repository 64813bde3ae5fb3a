"""Records of a training run, the moments at which they are made, and the schedule.

Rules read records through a RunView. Shapes: T tensors, K statistics, B histogram bins, N images of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadValue
from clearsight.core.registry import Former

Mode = Literal["train", "eval", "predict"]
MODES: tuple[Mode, ...] = ("train", "eval", "predict")

# A snapshot lists its tensors in this order.
COLLECTIONS = (
    *("losses", "weights", "biases", "gradients", "updates", "activations"),
    *("inputs", "outputs", "predictions", "labels", "tensors"),
)

# Columns of every saved table: their order is part of the file format.
STATISTICS = (
    *("count", "mean", "std", "min", "max", "abs_mean", "l2", "zero_fraction", "nan", "inf"),
    *("q01", "q05", "q25", "q50", "q75", "q95", "q99"),
)
BINS = 32  # of a histogram, evenly from min to max: enough for a plot, and 128 bytes per tensor and step

Floats = npt.NDArray[np.float32]  # half the disk of float64; no rule needs more than 7 digits
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Moment:
    """Moment of a record.

    step: from 1, within the mode: optimizer steps in "train" (forward passes where no optimizer is known), forward
    passes in the others.  epoch: from 1.  train_step: optimizer steps done so far in the run, 0 before the first.
    """

    mode: Mode
    step: int
    epoch: int
    train_step: int


def read_moment(mode: object, *counts: object) -> Moment:
    """Return the moment of a line in a file; counts: step, epoch, train_step. Raises ValueError for another one."""
    whole = [count for count in counts if isinstance(count, int) and 0 <= count < 1 << 63]
    if mode not in MODES or len(whole) != 3 or len(counts) != 3:
        raise ValueError("a moment is a mode and three whole numbers")
    return Moment(mode, *whole)


@dataclass(frozen=True, slots=True)
class Scalars:
    """Named numbers of one step: loss, metrics, learning rate. Never sub-sampled."""

    at: Moment
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Statistics of many tensors at one step, each a row.

    names: T tensor names, `layer1.0.conv1.weight`, `gradient/layer1.0.conv1.weight`, `update/layer1.0.conv1.weight`,
    `activation/layer1.0.relu` (`activation/layer1.0.relu:1` for the second call in a pass), in the order of the model.
    collections: T words of COLLECTIONS.  table: (T, K) float32 in the order of STATISTICS; where a tensor has NaN or
    infinite elements, `nan` and `inf` count them and the other statistics are of the finite ones.
    histograms: (T, B) float32 counts from min to max, or None.
    """

    at: Moment
    names: tuple[str, ...]
    collections: tuple[str, ...]
    table: Floats
    histograms: Floats | None = None


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """Predictions of a batch of images, beside the labels, all (N,).

    labels: int64.  predictions: int64, the largest logit.  confidence: float32, its softmax probability.
    true_probability: float32, that of the label.  indices: int64, the image's place in its split, or -1.
    """

    at: Moment
    labels: Ints
    predictions: Ints
    confidence: Floats
    true_probability: Floats
    indices: Ints


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A whole tensor, or a small table such as the channels of the inputs."""

    at: Moment
    name: str
    collection: str
    value: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A single event.

    kind: "nonfinite" (subject: where it was born; details: {"where": "input" | "layer" | "loss" | "gradient"}),
    "phase" (another part of the model trains from here on), "action" (the debugger changed something).
    """

    at: Moment
    kind: str
    subject: str
    details: Mapping[str, Any]

    facts = Former[Mapping[str, Any]]("details")


SavedRecord = Scalars | Snapshot | PredictionRecord | RawTensor | Event


@dataclass(frozen=True, kw_only=True)
class SaveSchedule:
    """Schedule of a mode: the steps in `steps`, and every `every`-th from `start` up to `end`.

    every: 0 saves only `steps`.  end: exclusive, None for no end.  Steps count from 1, and step 1 is always due where
    `every` is not 0 and `start` is 1: a run shorter than the interval still has its first point.
    """

    every: int = 1
    steps: frozenset[int] = frozenset()
    start: int = 1
    end: int | None = None

    def __post_init__(self) -> None:
        if self.every < 0:
            raise BadValue(f"save every {self.every}", "must be 0 (only the named steps) or more")
        if self.start < 1 or (self.end is not None and self.end < self.start):
            raise BadValue(f"save from step {self.start} to {self.end}", "must be 1 <= start <= end")

    def due(self, step: int) -> bool:
        """Return True if something is saved at `step`."""
        if step in self.steps:
            return True
        if not self.every or step < self.start or (self.end is not None and step >= self.end):
            return False
        return step == self.start or step % self.every == 0

    def points(self, planned: int) -> int:
        """Return how many of the steps 1 to `planned` are saved."""
        end = planned + 1 if self.end is None else min(self.end, planned + 1)
        regular: set[int] = set()
        if self.every and self.start < end:
            regular = {self.start, *range(-(-self.start // self.every) * self.every, end, self.every)}
        # A union: a named step may be a regular one too.
        return len(regular | {step for step in self.steps if 1 <= step <= planned})


class TensorStore(Protocol):
    """Storage of records on disk, in the order of writing.

    One writer; any number of readers at the same time, in other processes too. Once `append` has returned, its records
    survive a kill of the process. Reading leaves out a torn tail; any other damage is an error.
    """

    def append(self, records: Sequence[SavedRecord]) -> None: ...
    def records(self, kinds: Iterable[type] = ()) -> Iterator[SavedRecord]: ...
