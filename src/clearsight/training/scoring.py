"""Running a model over a whole split without training it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch

from clearsight.training.batches import Batches
from clearsight.training.distributed import World


@torch.no_grad()
def outputs(
    model: Callable[[torch.Tensor], torch.Tensor],
    batches: Batches,
    autocast: Callable[[], AbstractContextManager[object]],
    world: World,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Logits (N, C) and labels (N,) of a split in sample order, on every rank; ranks share the work.

    The caller has put the model into eval mode.
    """
    logits, labels, indices = [], [], []
    for batch in batches.epoch(1):
        with autocast():
            given = model(batch.inputs)
        logits.append(given.float().cpu().numpy())
        labels.append(batch.labels.cpu().numpy())
        indices.append(batch.indices)
    mine = (np.concatenate(logits), np.concatenate(labels), np.concatenate(indices)) if logits else None
    parts = [part for part in world.gather(mine) if part is not None]
    order = np.concatenate([part[2] for part in parts])
    # A rank's share may have been padded with images that another rank has too: each index counts once.
    _, first = np.unique(order, return_index=True)
    return np.concatenate([part[0] for part in parts])[first], np.concatenate([part[1] for part in parts])[first]
