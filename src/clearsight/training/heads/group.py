"""Heads that go through the same images in the same order: same shape, same update rule. One of everything.

K heads still training, M images in an epoch, S steps of a head in it, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from clearsight.core.events import RunStatus
from clearsight.training.heads.batch_schedule import BatchSchedule
from clearsight.training.heads.job import Floats, HeadData, HeadResult, OnEpoch
from clearsight.training.heads.logits_buffer import LogitsBuffer
from clearsight.training.heads.loss import StackedLoss, batch_sums
from clearsight.training.heads.network import StackedNetwork
from clearsight.training.heads.optim import epoch_rates, stacked_optimizer
from clearsight.training.heads.progress import HeadEpoch, HeadProgress
from clearsight.training.heads.rows import EpochRows, RowCache
from clearsight.training.heads.scores import stacked_scores


class Group:
    """Trains its heads together, an epoch at a call. `courses` are those still training; heads leave when over."""

    @torch.no_grad()
    def __init__(self, courses: Sequence[HeadProgress], modules: Sequence[nn.Module], data: HeadData) -> None:
        order = sorted(range(len(courses)), key=lambda head: courses[head].recipe.train.batch_size)  # as a Pace is
        self.courses = [courses[head] for head in order]
        recipes, device = [course.recipe for course in self.courses], data.views.device
        self._seed, self._classes = recipes[0].train.seed, data.classes
        self._network = StackedNetwork([modules[head] for head in order], device)
        self._optimizer = stacked_optimizer([recipe.optim for recipe in recipes], self._network.values)
        self._loss = StackedLoss([recipe.train for recipe in recipes], data.labels, data.classes, device)

    @torch.no_grad()
    def epoch(self, number: int, rows: RowCache, on_epoch: OnEpoch | None) -> None:
        """Train, validate and judge epoch `number`; those for whom it was the last leave."""
        began = time.monotonic()
        images = rows.of(number, self._seed)
        count = len(images.labels)
        pace = BatchSchedule([course.recipe.train.batch_size for course in self.courses], count)
        rates = [epoch_rates(course.recipe, number, of) for course, of in zip(self.courses, pace.steps, strict=True)]
        tape = self._train(number, images, pace, rates)
        valid = self._validate(rows)
        share = (time.monotonic() - began) / len(self.courses)
        for heads, begins in pace.runs():
            samples = np.diff([*begins, count]).astype(np.float64)
            means = self._loss.means(tape.losses, images.labels, heads, begins)
            shares = batch_sums(tape.right[:, heads], begins) / samples[:, None]
            for place, head in enumerate(range(heads.start, heads.stop)):
                seen = HeadEpoch(
                    loss=means[:, place],
                    accuracy=shares[:, place],
                    lr=rates[head],
                    samples=samples,
                    valid=valid[head],
                    seconds=share,
                )
                self.courses[head].take(seen, partial(self._network.state, head), on_epoch)
        self._part_with_those_over()

    def _train(self, epoch: int, rows: EpochRows, pace: BatchSchedule, rates: Sequence[Floats]) -> LogitsBuffer:
        """The steps of an epoch; returns how each image fared in them."""
        tape = LogitsBuffer(self._loss, rows.labels, len(self.courses), self._classes, pace.size)
        totals = self._loss.totals(rows.labels, pace)
        self._optimizer.begin(epoch, pace, rates)
        for piece, (inputs, labels) in enumerate(rows.pieces(pace.bounds)):
            step = (epoch - 1) * pace.steps[0] + piece  # of dropout alone, for which all have the same batches
            masks = self._network.masks(len(labels), self._seed, step)
            logits = self._network.forward(inputs, masks)
            tape.add(logits)
            self._network.backward(self._loss.slopes(logits, labels, totals[piece]), masks, pace.fresh[piece])
            self._optimizer.step(piece, self._network.gradients)
        tape.judge()
        return tape

    def _validate(self, rows: RowCache) -> list[Mapping[str, float]]:
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


def finish(courses: Sequence[HeadProgress], interrupted: str) -> list[HeadResult]:
    """The results of all heads; those that were still training were interrupted for this reason."""
    for course in courses:
        if course.running:
            course.end(RunStatus.INTERRUPTED, interrupted)
    return [course.result() for course in courses]
