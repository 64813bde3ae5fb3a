"""HeadGroup: heads that go through the same images in the same order, with the same shape and the same update rule.

K heads still training, M images in an epoch, S steps of a head in it, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from clearsight.training.heads.job import Floats, HeadData, HeadEpoch, HeadProgress, OnEpoch
from clearsight.training.heads.loss import LogitsBuffer, StackedLoss, batch_sums
from clearsight.training.heads.network import StackedNetwork
from clearsight.training.heads.optim import epoch_rates, stacked_optimizer
from clearsight.training.heads.rows import BatchSchedule, EpochRows, RowCache
from clearsight.training.metrics import stacked_scores


class HeadGroup:
    """Trains its heads together, an epoch at a call. `heads` are those still training; a head leaves when it ends."""

    @torch.no_grad()
    def __init__(self, heads: Sequence[HeadProgress], modules: Sequence[nn.Module], data: HeadData) -> None:
        order = sorted(range(len(heads)), key=lambda head: heads[head].recipe.train.batch_size)  # for BatchSchedule
        self.heads = [heads[head] for head in order]
        recipes, device = [head.recipe for head in self.heads], data.views.device
        self._seed, self._classes = recipes[0].train.seed, data.classes
        self._network = StackedNetwork([modules[head] for head in order], device)
        self._optimizer = stacked_optimizer([recipe.optim for recipe in recipes], self._network.values)
        self._loss = StackedLoss([recipe.train for recipe in recipes], data.labels, data.classes, device)

    @torch.no_grad()
    def epoch(self, number: int, rows: RowCache, on_epoch: OnEpoch | None) -> None:
        """Train and validate epoch `number` (from 1), and drop the heads that end with it."""
        start = time.monotonic()
        images = rows.of(number, self._seed)
        count = len(images.labels)
        schedule = BatchSchedule([head.recipe.train.batch_size for head in self.heads], count)
        rates = [
            epoch_rates(head.recipe, number, steps) for head, steps in zip(self.heads, schedule.steps, strict=True)
        ]
        buffer = self._train(number, images, schedule, rates)
        valid = self._validate(rows)
        seconds = (time.monotonic() - start) / len(self.heads)  # equal shares: the heads are one matrix
        for heads, begins in schedule.runs():
            samples = np.diff([*begins, count]).astype(np.float64)
            losses = self._loss.means(buffer.losses, images.labels, heads, begins)
            accuracies = batch_sums(buffer.correct[:, heads], begins) / samples[:, None]
            for place, head in enumerate(range(heads.start, heads.stop)):
                epoch = HeadEpoch(
                    loss=losses[:, place],
                    accuracy=accuracies[:, place],
                    lr=rates[head],
                    samples=samples,
                    valid=valid[head],
                    seconds=seconds,
                )
                self.heads[head].add(epoch, partial(self._network.state, head), on_epoch)
        self._drop_ended()

    def _train(self, epoch: int, rows: EpochRows, schedule: BatchSchedule, rates: Sequence[Floats]) -> LogitsBuffer:
        """Take the steps of an epoch; return the losses and hits of its images."""
        buffer = LogitsBuffer(self._loss, rows.labels, len(self.heads), self._classes, schedule.size)
        totals = self._loss.totals(rows.labels, schedule)
        self._optimizer.begin(epoch, schedule, rates)
        for piece, (inputs, labels) in enumerate(rows.pieces(schedule.bounds)):
            # Only dropout uses the step, and heads with dropout share a group only if they have the same batches.
            step = (epoch - 1) * schedule.steps[0] + piece
            masks = self._network.masks(len(labels), self._seed, step)
            logits = self._network.forward(inputs, masks)
            buffer.add(logits)
            self._network.backward(self._loss.slopes(logits, labels, totals[piece]), masks, schedule.fresh[piece])
            self._optimizer.step(piece, self._network.gradients)
        buffer.flush()
        return buffer

    def _validate(self, rows: RowCache) -> list[Mapping[str, float]]:
        """Return each head's scores on the validation split, {} without one."""
        if rows.valid is None:
            return [{} for _ in self.heads]
        features, labels = rows.valid
        logits = self._network.forward(features.float()).transpose(0, 1)
        return list(stacked_scores(logits.cpu().numpy(), labels))

    def _drop_ended(self) -> None:
        staying = [place for place, head in enumerate(self.heads) if head.running]
        if len(staying) == len(self.heads):
            return
        self.heads = [self.heads[place] for place in staying]
        if staying:
            self._network.only(staying)
            self._optimizer.only(staying, self._network.values)
            self._loss.only(staying)
