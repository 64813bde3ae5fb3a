"""StackedLoss: the training loss of K heads and its gradient in closed form, and LogitsBuffer: the losses of an epoch.

B images in a piece, M in an epoch, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearsight.core.recipe import TrainSection
from clearsight.training.heads.job import Floats
from clearsight.training.heads.rows import BatchSchedule
from clearsight.training.loss import balanced_weights

_MAX_BYTES = 1 << 26  # of collected logits: 64 MiB, so that a long epoch of many heads still fits into memory


class StackedLoss:
    """Cross-entropy as in `training.loss`, with separate class weights and smoothing for each head.

    The gradient looks a label's target up in a table, so that heads with and without weights and smoothing cost the
    same. The loss takes the true class out of the logarithms instead: another class may have the probability 0, and 0
    times its logarithm would be NaN.
    """

    def __init__(
        self, recipes: Sequence[TrainSection], labels: npt.NDArray[np.int64], classes: int, device: torch.device
    ) -> None:
        smoothing = np.array([train.label_smoothing for train in recipes])[:, None, None]  # (K, 1, 1)
        equal, balanced = np.ones(classes, dtype=np.float32), balanced_weights(labels, classes)
        weights = np.stack([balanced if r.class_weights == "balanced" else equal for r in recipes], axis=1)  # (C, K)
        spread = (1 - smoothing) * np.eye(classes) + smoothing / classes  # (K, C, C): target of a label
        table = spread.transpose(1, 0, 2) * weights[:, :, None]
        self._weights = torch.from_numpy(weights.astype(np.float32)).to(device) if (weights != 1).any() else None
        self._smoothing = torch.from_numpy(smoothing[:, 0, 0].astype(np.float32)).to(device)  # (K,)
        self._smooths = bool(smoothing.any())
        self._same_for_all = self._weights is None and not self._smooths  # then one head's table serves all
        # (C, K, C), or (C, 1, C): the target of a label, times the label's weight
        self._targets = torch.from_numpy((table[:, :1] if self._same_for_all else table).astype(np.float32)).to(device)

    def only(self, heads: list[int]) -> None:
        """Leave out all but the heads of these indices."""
        if not self._same_for_all:
            self._targets = self._targets[:, heads].contiguous()
        self._weights = None if self._weights is None else self._weights[:, heads].contiguous()
        self._smoothing = self._smoothing[heads]

    def slopes(self, logits: Tensor, labels: Tensor, totals: Tensor) -> Tensor:
        """Return the gradient of each head's mean loss with respect to its logits, both (B, K, C).

        totals: (K, 1) sum of the weights in the head's batch, of which these images may be a part.
        """
        slopes = logits.softmax(2)
        if self._weights is not None:
            slopes.mul_(self._weights.index_select(0, labels).unsqueeze(2))
        return slopes.sub_(self._targets.index_select(0, labels)).div_(totals)

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the losses (B, K) of single images, without their weights, from logits (B, K, C)."""
        log_shares = logits.log_softmax(2)
        true = log_shares.gather(2, labels.view(-1, 1, 1).expand(-1, log_shares.shape[1], 1)).squeeze(2).neg_()
        if not self._smooths:
            return true
        # Heads without smoothing get an exact 0: their mean may be infinite, and 0 times that is NaN.
        spread = torch.where(self._smoothing > 0, log_shares.mean(2).mul_(self._smoothing), 0.0)
        return true.mul_(1 - self._smoothing).sub_(spread)

    def totals(self, labels: Tensor, schedule: BatchSchedule) -> Sequence[Tensor]:
        """Return for each piece (K, 1), the sum of the weights in each head's batch. labels: (M,)."""
        totals = schedule.lengths.astype(np.float64)
        if self._weights is not None:
            for heads, begins in schedule.runs():
                sums = batch_sums(self._weights[:, heads].index_select(0, labels), begins)
                totals[:, heads] = np.take_along_axis(sums, schedule.number[:, heads], axis=0)
        return torch.from_numpy(totals.astype(np.float32)).to(labels.device).unsqueeze(2).unbind()

    def means(self, losses: Tensor, labels: Tensor, heads: slice, begins: Sequence[int]) -> Floats:
        """Return (S, H), the mean loss of each batch of these heads, from the losses (M, K) of all images.

        begins: (S,) row at which each batch begins.
        """
        losses = losses[:, heads]
        weights = torch.ones_like(losses) if self._weights is None else self._weights[:, heads].index_select(0, labels)
        return batch_sums(losses * weights, begins) / batch_sums(weights, begins)


def batch_sums(rows: Tensor, begins: Sequence[int]) -> Floats:
    """Return (S, K), the sums of rows (M, K) over batches that begin at these rows.

    A sum beyond float32 is inf, as in a loop that sums in float32.
    """
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(rows.cpu().numpy().astype(np.float64), begins, axis=0).astype(np.float32)
    return sums.astype(np.float64)


class LogitsBuffer:
    """Losses (M, K) float32 and `correct` (M, K) bool of the images of an epoch, computed many images at a time.

    A step then has less to do, and on a GPU nothing to wait for.
    """

    def __init__(self, loss: StackedLoss, labels: Tensor, heads: int, classes: int, largest: int) -> None:
        """labels: (M,).  largest: images in the largest piece that will be added."""
        self._loss, self._labels = loss, labels
        rows = min(len(labels), max(largest, _MAX_BYTES // (4 * heads * classes)))
        self._logits = torch.empty(rows, heads, classes, device=labels.device)
        self._begin, self._end = 0, 0  # of the collected rows, in the order of the epoch
        self.losses = torch.empty(len(labels), heads, device=labels.device)
        self.correct = torch.empty_like(self.losses, dtype=torch.bool)

    def add(self, logits: Tensor) -> None:
        """Copy the logits (B, K, C) of the next images."""
        if self._end - self._begin + len(logits) > len(self._logits):
            self.flush()
        at = self._end - self._begin
        self._end += len(logits)
        self._logits[at : at + len(logits)] = logits

    def flush(self) -> None:
        """Compute losses and hits of the collected logits."""
        rows = slice(self._begin, self._end)
        labels, logits = self._labels[rows], self._logits[: self._end - self._begin]
        self.losses[rows] = self._loss.each(logits, labels)
        torch.eq(logits.argmax(2), labels.unsqueeze(1), out=self.correct[rows])
        self._begin = self._end
