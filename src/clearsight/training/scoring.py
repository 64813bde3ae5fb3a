"""Running a model over a whole split without training it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from clearsight.training import metrics
from clearsight.training.batches import Batches
from clearsight.training.device import autocast
from clearsight.training.distributed import World
from clearsight.training.job import Phase, TrainingJob, TrainingPosition


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Scores on the validation split, and what they were computed from: logits (N, C) and labels (N,)."""

    scores: Mapping[str, float]
    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def validate(
    job: TrainingJob, phase: Phase, position: TrainingPosition, averaged: AbstractContextManager[None]
) -> Validation:
    """Measure a phase's model on its validation split, which it must have.

    averaged: within it the network holds the weights to validate. The model is left in training mode.
    """
    assert phase.valid is not None
    with job.stopwatch.span("validation", position.step, position.epoch):
        # Both: the phase's model may be a chain over parts of the network, whose other modules it does not contain.
        job.network.eval()
        phase.model.eval()
        job.watcher.before_validation(position.epoch, position.step)
        with averaged:
            logits, labels = outputs(phase.model, phase.valid, partial(autocast, job.device, job.precision), job.world)
        job.watcher.after_forward(logits, labels, np.arange(len(labels)))
        phase.train_mode()
        return Validation(scores=metrics.scores(logits, labels), logits=logits, labels=labels)


@torch.no_grad()
def outputs(
    model: Callable[[torch.Tensor], torch.Tensor],
    batches: Batches,
    autocast: Callable[[], AbstractContextManager[object]],
    world: World,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return logits (N, C) and labels (N,) of a split in sample order, on every rank; ranks share the work.

    The caller has put the model into eval mode. autocast: makes the context of each forward pass.
    """
    logits, labels, indices = [], [], []
    for batch in batches.epoch(1):
        with autocast():
            batch_logits = model(batch.inputs)
        logits.append(batch_logits.float().cpu().numpy())  # numpy has no bfloat16
        labels.append(batch.labels.cpu().numpy())
        indices.append(batch.indices)
    share = (np.concatenate(logits), np.concatenate(labels), np.concatenate(indices)) if logits else None
    parts = [part for part in world.gather(share) if part is not None]
    order = np.concatenate([part[2] for part in parts])
    # A rank's share may have been padded with images that another rank has too: each index counts once.
    _, first = np.unique(order, return_index=True)
    return np.concatenate([part[0] for part in parts])[first], np.concatenate([part[1] for part in parts])[first]
