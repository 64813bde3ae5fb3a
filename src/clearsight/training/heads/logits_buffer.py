"""The logits of an epoch as they came, judged many images at a time: less to do in a step, and none to wait for."""

from __future__ import annotations

import torch
from torch import Tensor

from clearsight.training.heads.loss import StackedLoss

_ROOM = 1 << 26  # bytes of logits that are kept before they are judged


class LogitsBuffer:
    """Losses and right answers of M images under K heads. losses: (M, K) float32.  right: (M, K) bool."""

    def __init__(self, loss: StackedLoss, labels: Tensor, heads: int, classes: int, largest: int) -> None:
        """labels: (M,).  largest: images in the largest piece that will come."""
        self._loss, self._labels = loss, labels
        rows = min(len(labels), max(largest, _ROOM // (4 * heads * classes)))
        self._held = torch.empty(rows, heads, classes, device=labels.device)
        self._begin, self._end = 0, 0  # of what is held, in the order of the epoch
        self.losses = torch.empty(len(labels), heads, device=labels.device)
        self.right = torch.empty_like(self.losses, dtype=torch.bool)

    def add(self, logits: Tensor) -> None:
        """Take in the logits (B, K, C) of the next images."""
        if self._end - self._begin + len(logits) > len(self._held):
            self.judge()
        at = self._end - self._begin
        self._end += len(logits)
        self._held[at : at + len(logits)] = logits

    def judge(self) -> None:
        """Judge what is held."""
        place = slice(self._begin, self._end)
        labels, logits = self._labels[place], self._held[: self._end - self._begin]
        self.losses[place] = self._loss.each(logits, labels)
        torch.eq(logits.argmax(2), labels.unsqueeze(1), out=self.right[place])
        self._begin = self._end
