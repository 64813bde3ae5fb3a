"""Optimizers and learning-rate schedules. A rate is a pure function of the step, so that it needs no saved state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

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
    if section.schedule == "constant":
        return section.resolved_lr
    if section.schedule == "step":
        return float(section.resolved_lr * section.gamma ** (step // (section.step_size * steps_per_epoch)))
    # max: a warm-up of all steps leaves none for the cosine.
    done = (step - warm) / max(1, steps - warm)
    return section.resolved_lr * 0.5 * (1 + math.cos(math.pi * done))


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group to its factor times `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
