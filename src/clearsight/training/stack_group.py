"""Heads that take the same steps: same batches in the same order, same shape, same update rule. One of everything.

K heads still training, B pictures in a batch, N in the split, S steps in an epoch, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from clearsight.core.run import RunStatus
from clearsight.training.stack_course import Course, EpochSeen
from clearsight.training.stack_job import Floats, OnEpoch, StackedData, StackResult
from clearsight.training.stack_loss import StackedLoss, batch_sums
from clearsight.training.stack_network import StackedNetwork
from clearsight.training.stack_optim import epoch_rates, stacked_optimizer
from clearsight.training.stack_rows import EpochRows, Rows
from clearsight.training.stacked_scores import stacked_scores


class Group:
    """Trains its heads together, an epoch at a call. `courses` are those still training; heads leave when over."""

    @torch.no_grad()
    def __init__(self, courses: Sequence[Course], modules: Sequence[nn.Module], data: StackedData) -> None:
        self.courses = list(courses)
        recipes = [course.recipe for course in courses]
        how, device = recipes[0].train, data.views.device
        self._size, self._seed = how.batch_size, how.seed
        self._network = StackedNetwork(modules, device)
        self._optimizer = stacked_optimizer([recipe.optim for recipe in recipes], self._network.values)
        self._loss = StackedLoss([recipe.train for recipe in recipes], data.labels, data.classes, device)

    @torch.no_grad()
    def epoch(self, number: int, rows: Rows, on_epoch: OnEpoch | None) -> None:
        """Train, validate and judge epoch `number`; those for whom it was the last leave."""
        began = time.monotonic()
        pictures = rows.of(number, self._seed)
        bounds = pictures.bounds(self._size)
        rates = epoch_rates([course.recipe for course in self.courses], number, len(bounds) - 1)
        losses, right = self._train(number, pictures, rates)
        samples = np.diff(bounds).astype(np.float64)
        valid = self._validate(rows)
        share = (time.monotonic() - began) / len(self.courses)
        for head, course in enumerate(self.courses):
            seen = EpochSeen(
                loss=losses[:, head],
                accuracy=right[:, head] / samples,
                lr=rates[:, head],
                samples=samples,
                valid=valid[head],
                seconds=share,
            )
            course.take(seen, partial(self._network.state, head), on_epoch)
        self._part_with_those_over()

    def _train(self, epoch: int, rows: EpochRows, rates: Floats) -> tuple[Floats, Floats]:
        """The steps of an epoch; returns (S, K) the losses and how many pictures were right."""
        begins = rows.bounds(self._size)[:-1]
        first = (epoch - 1) * len(begins)
        # Of each picture, to be summed up once an epoch: less to do in a step, and no step for which a GPU must wait.
        losses = torch.empty(len(rows.labels), len(self.courses), device=rows.labels.device)
        predicted = torch.empty_like(losses, dtype=torch.int64)
        self._optimizer.begin(rates, first)
        for step, (place, inputs, labels) in enumerate(rows.batches(self._size)):
            masks = self._network.masks(len(labels), self._seed, first + step)
            logits = self._network.forward(inputs, masks)
            torch.argmax(logits, 2, out=predicted[place])
            slopes = self._loss.slopes(logits, labels, losses[place])
            self._network.backward(slopes, masks)
            self._optimizer.step(step, self._network.gradients)
        right = batch_sums(predicted == rows.labels.unsqueeze(1), begins)
        return self._loss.means(losses, rows.labels, begins), right

    def _validate(self, rows: Rows) -> list[Mapping[str, float]]:
        """Each head's scores on the validation split."""
        if rows.valid is None:
            return [{} for _ in self.courses]
        features, labels = rows.valid
        logits = self._network.forward(features.float()).transpose(0, 1)
        return list(stacked_scores(logits.cpu().numpy(), labels))

    def _part_with_those_over(self) -> None:
        staying = [head for head, course in enumerate(self.courses) if course.running]
        if len(staying) == len(self.courses):
            return
        self.courses = [self.courses[head] for head in staying]
        if staying:
            self._network.only(staying)
            self._optimizer.only(staying, self._network.values)
            self._loss.only(staying)


def finish(courses: Sequence[Course], interrupted: str) -> list[StackResult]:
    """The results of all heads; those that were still training were interrupted for this reason."""
    for course in courses:
        if course.running:
            course.end(RunStatus.INTERRUPTED, interrupted)
    return [course.result() for course in courses]
