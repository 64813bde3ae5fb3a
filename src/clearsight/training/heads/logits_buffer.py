"""LogitsBuffer: collects logits during an epoch and computes their losses many images at a time.

A step then has less to do, and on a GPU nothing to wait for. K heads, M images in an epoch, B in a piece, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clearsight.training.heads.loss import StackedLoss

_MAX_BYTES = 1 << 26  # of collected logits: 64 MiB, so that a long epoch of many heads still fits into memory


class LogitsBuffer:
    """Losses and hits of M images under K heads. losses: (M, K) float32.  correct: (M, K) bool."""

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
