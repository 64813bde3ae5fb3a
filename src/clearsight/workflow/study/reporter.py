"""TrialReporter: a running trial's connection to its study, and the reasons to stop the trial between two epochs.

Reasons are: the study was interrupted, the pruner, or a model at chance level. Without torch, so that they can be
tested without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import TypeAdapter

from clearsight.core.events import EpochRecord
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.paths import Paths

_SHARE = 1 / 3  # of the planned epochs, after which a network that learns at all has begun to
_MIN_EPOCHS = 3  # before which no trial is judged
_NEAR = 0.02  # relative distance of the loss from the loss of a random guess
_CHANCE = 1.2  # times the accuracy of a random guess
_RANKED = 0.6  # area under the ROC curve above which two classes are told apart, whatever the accuracy says


class TrialReporter(Protocol):
    """Connection of a trial to its study, over a pipe or a cluster."""

    def report_epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        """Report the scores of an epoch; returns why the trial must end, or "" to continue."""

    def interruption(self) -> str:
        """Return why all trials must stop now, resumable; "" to continue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerResources:
    """A worker's caches, and its share of the machine.

    device: for recipes that do not name one.  threads: of torch, and the number of loader workers.
    """

    paths: Paths
    device: str = "auto"
    threads: int | None = None  # None leaves both to the recipe's defaults

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values that `from_json` reads."""
        return dict(TypeAdapter(WorkerResources).dump_python(self, mode="json"))

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> WorkerResources:
        """Return the resources that `to_json` wrote."""
        return TypeAdapter(WorkerResources).validate_python(values)


def interruption(reporter: TrialReporter) -> StopReason | None:
    """Return why all trials must stop now, resumable; None to continue."""
    text = reporter.interruption()
    return StopReason(StopKind.SIGNAL, text) if text else None


def stop_after_epoch(reporter: TrialReporter, number: int, record: EpochRecord, classes: int) -> StopReason | None:
    """Report the scores of an epoch to the study; return why the trial ends, by the pruner or at chance level."""
    if text := reporter.report_epoch(number, record.epoch, record.valid):
        return StopReason(StopKind.PRUNED, text)
    text = chance_level_reason(record, classes)
    return StopReason(StopKind.AT_CHANCE, text) if text else None


def chance_level_reason(record: EpochRecord, classes: int) -> str:
    """Return why a trial at chance level ends after this epoch; "" to continue.

    A random guess among C classes has the cross-entropy log C and the accuracy 1 / C. A trial that still has both on
    its training images after a third of its epochs has learned nothing and ends.

    The loss alone would not do: with a learning rate far too low it stays there although the model tells classes apart
    already, and a model of two classes may call all images the same and yet rank them well. A loss far above is no
    random guess either: the learning rate is high, and the loss will fall with it. Stopping trials by such diagnoses,
    and not by their objective alone, follows "BTTackler: A Diagnosis-based Framework for Efficient Deep Learning
    Hyperparameter Optimization" (KDD 2024).
    """
    classes = max(classes, 2)  # one class has a loss of 0, which no threshold could be relative to
    loss, chance_loss = record.train.get("loss", 0.0), math.log(classes)
    accuracy = record.train.get("accuracy", 1.0)
    if not max(_MIN_EPOCHS, math.ceil(_SHARE * record.epochs)) <= record.epoch < record.epochs:
        return ""  # too early, or the last epoch: nothing would be saved
    if abs(loss / chance_loss - 1) > _NEAR or accuracy > _CHANCE / classes:
        return ""
    if record.valid.get("roc_auc", 0.0) > _RANKED:
        return ""
    return (
        f"the model is at chance level after {record.epoch} of {record.epochs} epochs: training loss {loss:.3f} "
        f"(log {classes} is {chance_loss:.3f}), accuracy {accuracy:.3f}"
    )
