"""The training loss of K heads and its slope in closed form. B pictures of a batch, M of an epoch, C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearsight.core.recipe import TrainSection
from clearsight.training.loss import balanced_weights
from clearsight.training.stack_job import Floats


class StackedLoss:
    """Cross-entropy as in `training.loss`, with each head's own class weights and smoothing.

    A label's target is a row of a table, so that heads with and without weights and smoothing cost the same. The loss
    itself takes the true class out of the logarithms instead: a class that is no target may have a probability of 0,
    whose logarithm must not become a part of the loss.
    """

    def __init__(
        self, recipes: Sequence[TrainSection], labels: npt.NDArray[np.int64], classes: int, device: torch.device
    ) -> None:
        smoothing = np.array([how.label_smoothing for how in recipes])[:, None, None]  # (K, 1, 1)
        weights = np.stack([_class_weights(how, labels, classes) for how in recipes], axis=1)  # (C, K)
        spread = (1 - smoothing) * np.eye(classes) + smoothing / classes  # (K, C, C): of a label, the target
        table = spread.transpose(1, 0, 2) * weights[:, :, None]
        self._targets = torch.from_numpy(table.astype(np.float32)).to(device)  # (C, K, C), times the label's weight
        self._weights = torch.from_numpy(weights.astype(np.float32)).to(device) if (weights != 1).any() else None
        self._smoothing = torch.from_numpy(smoothing[:, 0, 0].astype(np.float32)).to(device)  # (K,)
        self._smooths = bool(smoothing.any())

    def only(self, heads: list[int]) -> None:
        """Leave out all but the heads of these indices."""
        self._targets = self._targets[:, heads].contiguous()
        self._weights = None if self._weights is None else self._weights[:, heads].contiguous()
        self._smoothing = self._smoothing[heads]

    def slopes(self, logits: Tensor, labels: Tensor, losses: Tensor) -> Tensor:
        """The slope of each head's mean loss at its logits, both (B, K, C); each picture's goes into `losses` (B, K)."""
        shares = logits.log_softmax(2)
        true = labels.view(-1, 1, 1).expand(-1, shares.shape[1], 1)
        torch.gather(shares, 2, true, out=losses.unsqueeze(2))
        losses.neg_()
        if self._smooths:
            spread = torch.where(self._smoothing > 0, shares.mean(2).mul_(self._smoothing), 0.0)
            losses.mul_(1 - self._smoothing).sub_(spread)
        slopes = shares.exp_()
        targets = self._targets.index_select(0, labels)
        if self._weights is None:
            return slopes.sub_(targets).div_(len(labels))
        weights = self._weights.index_select(0, labels)  # (B, K)
        return slopes.mul_(weights.unsqueeze(2)).sub_(targets).div_(weights.sum(0).unsqueeze(1))

    def means(self, losses: Tensor, labels: Tensor, begins: Sequence[int]) -> Floats:
        """(S, K) mean loss of each batch, from those of all pictures (M, K); batch s begins at row `begins[s]`."""
        weights = torch.ones_like(losses) if self._weights is None else self._weights.index_select(0, labels)
        return batch_sums(losses * weights, begins) / batch_sums(weights, begins)


def batch_sums(rows: Tensor, begins: Sequence[int]) -> Floats:
    """(S, K) sums of rows (M, K) over batches that begin at these rows; what float32 cannot hold is inf, as in a loop
    that sums up in it."""
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(rows.cpu().numpy().astype(np.float64), begins, axis=0).astype(np.float32)
    return sums.astype(np.float64)


def _class_weights(how: TrainSection, labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    return balanced_weights(labels, classes) if how.class_weights == "balanced" else np.ones(classes, dtype=np.float32)
