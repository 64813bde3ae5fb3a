"""RunView: what a rule sees of a run, the same while it trains and long after. S saved steps, L tensors, M images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.profile import Profile
from clearsight.core.tensors import Event, Mode, Moment

Floats64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Curve:
    """A scalar over a mode's steps, all (S,): steps and epochs int64, values float64, not always finite."""

    steps: Ints
    epochs: Ints
    values: Floats64

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class StatisticTable:
    """One statistic of the tensors of a collection. steps, epochs: (S,); names: L, in the order of the model;
    values: (S, L) float64, NaN where a tensor was not there."""

    steps: Ints
    epochs: Ints
    names: tuple[str, ...]
    values: Floats64

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class EvaluationTable:
    """Evaluations during training, each beside the training since the one before; all (R,), NaN where not known.

    steps: training steps done at the time.  epochs: of the training.
    """

    steps: Ints
    epochs: Ints
    train_loss: Floats64
    valid_loss: Floats64
    train_accuracy: Floats64
    valid_accuracy: Floats64

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class PredictionTable:
    """Every image that was answered in a mode, in order of time, all (M,); fields as in `tensors.Outcomes`.

    steps, epochs: of the batch.  batches: which batch, from 0, so that a batch's images share a number.
    """

    steps: Ints
    epochs: Ints
    batches: Ints
    labels: Ints
    predictions: Ints
    confidence: Floats64
    true_probability: Floats64
    indices: Ints

    def __len__(self) -> int:
        return len(self.labels)


class RunView(Protocol):
    """What was saved of a run up to some step. Asking for what is not there gives empty arrays, never an error."""

    @property
    def facts(self) -> RunContext:
        """What is known beside what was measured."""
        ...

    @property
    def profile(self) -> Profile:
        """What the machine did; empty where nobody measured."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the run is over, so that nothing more will come."""
        ...

    def done(self, mode: Mode = "train") -> int:
        """Steps of the mode so far, saved or not."""
        ...

    def scalar(self, name: str, mode: Mode = "train") -> Curve:
        """A scalar by name: "loss", "accuracy", "lr", "grad_norm", "update_ratio", or one of the user's own.

        Several values of one step (several losses, accumulated batches) are averaged.
        """
        ...

    def scalars(self, mode: Mode = "train") -> tuple[str, ...]:
        """Names of the scalars of a mode."""
        ...

    def rounds(self) -> EvaluationTable:
        """Training beside validation, per evaluation."""
        ...

    def names(self, collection: str, mode: Mode = "train") -> tuple[str, ...]:
        """Tensors of a collection that have statistics, in the order of the model."""
        ...

    def statistic(self, statistic: str, collection: str, mode: Mode = "train") -> StatisticTable:
        """A statistic (one of STATISTICS) of every tensor of a collection, over the saved steps."""
        ...

    def outcomes(self, mode: Mode = "train") -> PredictionTable:
        """What the model said of each image, beside what was right."""
        ...

    def raw(self, name: str, mode: Mode = "train") -> list[tuple[Moment, npt.NDArray[Any]]]:
        """Whole tensors by name, in order of time."""
        ...

    def events(self, kind: str) -> list[Event]:
        """Single happenings of a kind."""
        ...
