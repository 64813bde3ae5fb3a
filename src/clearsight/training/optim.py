"""Optimizers, learning-rate schedules and averaged weights. A rate is a pure function of the step: nothing to save."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from clearsight.core.errors import BadData
from clearsight.core.recipe import OptimSection

ParameterGroup = dict[str, Any]  # params, weight_decay (0 or 1 times the recipe's), lr_factor


def build_optimizer(groups: Sequence[ParameterGroup], section: OptimSection) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over parameter groups; their `lr_factor` and `weight_decay` scale the recipe's.

    Raises BadData when no group holds a trainable parameter.
    """
    ready = []
    for group in groups:
        params = [p for p in group["params"] if p.requires_grad]
        if params:
            decay = section.weight_decay * group.get("weight_decay", 1.0)
            ready.append({"params": params, "weight_decay": decay, "lr_factor": group.get("lr_factor", 1.0)})
    if not ready:
        raise BadData("model", "nothing is trainable", fix="Freeze less with --freeze.")
    if section.optimizer == "sgd":
        return torch.optim.SGD(ready, lr=section.resolved_lr, momentum=section.momentum)
    kind = torch.optim.AdamW if section.optimizer == "adamw" else torch.optim.Adam
    # fused: one kernel over all tensors saves about a third of a small network's whole step, on a CPU as on a GPU.
    return kind(ready, lr=section.resolved_lr, eps=section.eps, fused=True)


def rate(step: int, steps: int, steps_per_epoch: int, section: OptimSection) -> float:
    """Return the learning rate of step `step` in [0, steps): linear warm-up to `lr`, then the schedule.

    Cosine falls to 0 after the last step (Loshchilov & Hutter 2017, eq. 5, without restarts).
    """
    warm = round(section.warmup * steps)
    if step < warm:
        return section.resolved_lr * (step + 1) / (warm + 1)  # not from 0: the first step would train nothing
    if section.resolved_schedule == "constant":
        return section.resolved_lr
    if section.resolved_schedule == "step":
        return float(section.resolved_lr * section.gamma ** (step // (section.step_size * steps_per_epoch)))
    # max: a warm-up of all steps leaves none for the cosine.
    done = (step - warm) / max(1, steps - warm)
    return section.resolved_lr * 0.5 * (1 + math.cos(math.pi * done))


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group to its factor times `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


class AveragedWeights:
    """Exponential moving average of named tensors. Its decay starts low, or early epochs would average the start.

    The decay at update t is min(decay, (1 + t) / (10 + t)), the warm-up of TensorFlow's ExponentialMovingAverage.
    Integer tensors (BatchNorm's counters) are copied, not averaged.
    """

    def __init__(self, live: Mapping[str, Tensor], decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: tensor.detach().clone() for name, tensor in live.items()}

    @torch.no_grad()
    def update(self, live: Mapping[str, Tensor]) -> None:
        """Move the average towards the live weights."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, average in self.values.items():
            if average.is_floating_point():  # statistics of BatchNorm are averaged like weights
                average.lerp_(live[name], weight)
            else:
                average.copy_(live[name])

    @contextmanager
    def swapped(self, live: Mapping[str, Tensor]) -> Iterator[None]:
        """Put the average into the live tensors within the block, and their values of before after it."""
        before = {name: tensor.detach().clone() for name, tensor in live.items()}
        try:
            _copy(self.values, live)  # inside of try: an interruption half-way must put everything back
            yield
        finally:
            _copy(before, live)


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
