"""The training loss of K heads on one batch, and its slope in closed form. B pictures, C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearsight.core.recipe import TrainSection
from clearsight.training.loss import balanced_weights


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

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean losses (K,) of logits (B, K, C), and their slopes at the logits (B, K, C)."""
        shares = logits.log_softmax(2)
        each = self._each(shares, labels)
        slopes = shares.exp_()
        targets = self._targets.index_select(0, labels)
        if self._weights is None:
            return each.mean(0), slopes.sub_(targets).div_(len(labels))
        weights = self._weights.index_select(0, labels)  # (B, K)
        total = weights.sum(0)
        slopes.mul_(weights.unsqueeze(2)).sub_(targets).div_(total.unsqueeze(1))
        return each.mul_(weights).sum(0).div_(total), slopes

    def _each(self, shares: Tensor, labels: Tensor) -> Tensor:
        """Losses (B, K) from logarithms of probabilities (B, K, C)."""
        true = shares.gather(2, labels.view(-1, 1, 1).expand(-1, shares.shape[1], 1)).squeeze(2).neg_()
        if not self._smooths:
            return true
        spread = torch.where(self._smoothing > 0, shares.mean(2).mul_(self._smoothing), 0.0)
        return true.mul_(1 - self._smoothing).sub_(spread)


def _class_weights(how: TrainSection, labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    return balanced_weights(labels, classes) if how.class_weights == "balanced" else np.ones(classes, dtype=np.float32)
