"""RunView: the data of a run for rules, equal while it trains and long after. S saved steps, L tensors, M images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.profile import Profile, StepColumns
from clearsight.core.registry import Former
from clearsight.core.tensors import Event, Mode, Moment

Floats64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Curve(StepColumns):
    """A scalar over a mode's steps. values: (S,), not always finite."""

    values: Floats64


@dataclass(frozen=True, slots=True)
class StatisticTable(StepColumns):
    """One statistic of the tensors of a collection.

    names: L, in the order of the model.  values: (S, L), NaN where a tensor was not saved.
    """

    names: tuple[str, ...]
    values: Floats64


@dataclass(frozen=True, slots=True)
class EvaluationTable(StepColumns):
    """Evaluations during training, each beside the training since the one before; all (R,), NaN where not known.

    steps: training steps done at each evaluation.  epochs: of the training.
    """

    train_loss: Floats64
    valid_loss: Floats64
    train_accuracy: Floats64
    valid_accuracy: Floats64


@dataclass(frozen=True, slots=True)
class PredictionTable(StepColumns):
    """Predictions of a mode, in order of time, all (M,); fields as in `tensors.PredictionRecord`.

    steps, epochs: of the batch.  batches: number of the batch, from 0; the images of a batch share it.
    """

    batches: Ints
    labels: Ints
    predictions: Ints
    confidence: Floats64
    true_probability: Floats64
    indices: Ints


class RunView(Protocol):
    """Saved data of a run up to some step. Data that were not saved are empty arrays, never an error."""

    # Empty arrays keep rules short: `len(curve) < points` covers too little data and none at all.

    @property
    def context(self) -> RunContext:
        """Circumstances of the run: plan, model, data, settings."""

    @property
    def profile(self) -> Profile:
        """Measurements of the machine; empty where there are none."""

    @property
    def ended(self) -> bool:
        """True if the run is over, so that nothing more will come."""

    def done(self, mode: Mode = "train") -> int:
        """Return the steps of the mode so far, saved or not."""

    def scalar(self, name: str, mode: Mode = "train") -> Curve:
        """Return a scalar by name: "loss", "accuracy", "lr", "grad_norm", "update_ratio", or one of the user's own.

        Several values of one step (several losses, accumulated batches) are averaged.
        """

    def scalars(self, mode: Mode = "train") -> tuple[str, ...]:
        """Return the names of the scalars of a mode."""

    def evaluations(self) -> EvaluationTable:
        """Return training beside validation, per evaluation."""

    def names(self, collection: str, mode: Mode = "train") -> tuple[str, ...]:
        """Return the tensors of a collection that have statistics, in the order of the model."""

    def statistic(self, statistic: str, collection: str, mode: Mode = "train") -> StatisticTable:
        """Return a statistic (one of STATISTICS) of every tensor of a collection, over the saved steps."""

    def predictions(self, mode: Mode = "train") -> PredictionTable:
        """Return the predictions of all images, beside their labels."""

    def raw(self, name: str, mode: Mode = "train") -> list[tuple[Moment, npt.NDArray[Any]]]:
        """Return whole tensors by name, in order of time."""

    def events(self, kind: str) -> list[Event]:
        """Return the events of a kind."""


class FormerNames:
    """Former names of a RunView's members, which rules of users may still call. New code uses the new ones."""

    facts = Former[RunContext]("context")
    rounds = Former[Callable[[], EvaluationTable]]("evaluations")
    outcomes = Former[Callable[..., PredictionTable]]("predictions")
