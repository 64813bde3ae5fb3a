"""Heads that take the same steps: same batches in the same order, same shape, same update rule. One of everything.

K heads still training, B pictures in a batch, N in the split, S steps in an epoch, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from clearsight.core.run import RunStatus
from clearsight.training.stack_course import Course, EpochSeen
from clearsight.training.stack_job import Floats, OnEpoch, StackedData, StackResult
from clearsight.training.stack_loss import StackedLoss
from clearsight.training.stack_network import StackedNetwork
from clearsight.training.stack_optim import epoch_rates, stacked_optimizer
from clearsight.training.stacked_scores import stacked_scores


class Group:
    """Trains its heads together, an epoch at a call. `courses` are those still training; heads leave when over."""

    @torch.no_grad()
    def __init__(self, courses: Sequence[Course], modules: Sequence[nn.Module], data: StackedData) -> None:
        self.courses, self._data = list(courses), data
        recipes = [course.recipe for course in courses]
        how, device = recipes[0].train, data.views.device
        self._size, self._seed = how.batch_size, how.seed
        self._order = data.order(how.seed)
        self._labels = torch.tensor(data.labels, device=device)  # a copy: the array may be read-only
        self._network = StackedNetwork(modules, device)
        self._optimizer = stacked_optimizer([recipe.optim for recipe in recipes], self._network.values)
        self._loss = StackedLoss([recipe.train for recipe in recipes], data.labels, data.classes, device)
        rows = min(how.batch_size, len(self._order(1)))
        self._batch = torch.empty(rows, data.views.shape[2], dtype=data.views.dtype, device=device)

    @torch.no_grad()
    def epoch(self, number: int, on_epoch: OnEpoch | None) -> None:
        """Train, validate and judge epoch `number`; those for whom it was the last leave."""
        began = time.monotonic()
        order = torch.tensor(self._order(number), device=self._labels.device)
        batches: Sequence[Tensor] = torch.split(order, self._size)
        rates = epoch_rates([course.recipe for course in self.courses], number, len(batches))
        losses, right = self._train(number, batches, rates)
        samples = np.array([len(batch) for batch in batches], dtype=np.float64)
        valid = self._validate()
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

    def _train(self, epoch: int, batches: Sequence[Tensor], rates: Floats) -> tuple[Floats, Floats]:
        """The steps of an epoch; returns (S, K) the losses and how many pictures were right."""
        features = self._data.views[(epoch - 1) % len(self._data.views)]
        first = (epoch - 1) * len(batches)
        losses = torch.empty(len(batches), len(self.courses), device=self._labels.device)
        right = torch.empty_like(losses)
        self._optimizer.begin(rates, first)
        for step, chosen in enumerate(batches):
            inputs = torch.index_select(features, 0, chosen, out=self._batch[: len(chosen)]).float()
            labels = self._labels.index_select(0, chosen)
            masks = self._network.masks(len(chosen), self._seed, first + step)
            logits = self._network.forward(inputs, masks)
            losses[step], slopes = self._loss(logits, labels)
            right[step] = (logits.argmax(2) == labels.unsqueeze(1)).sum(0)
            self._network.backward(slopes, masks)
            self._optimizer.step(step, self._network.gradients)
        # One transfer an epoch: reading each step's loss would make a GPU wait at each step.
        return losses.double().cpu().numpy(), right.double().cpu().numpy()

    def _validate(self) -> list[Mapping[str, float]]:
        """Each head's scores on the validation split."""
        if self._data.valid is None:
            return [{} for _ in self.courses]
        features, labels = self._data.valid
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
