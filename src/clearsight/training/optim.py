"""Optimizers and learning-rate schedules. A rate is a pure function of the step, so nothing of it needs saving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from clearsight.core.errors import BadData
from clearsight.core.recipe import OptimSection

ParameterGroup = dict[str, Any]  # params, weight_decay (share of the recipe's, 0 or 1), lr_factor


def build_optimizer(groups: Sequence[ParameterGroup], how: OptimSection) -> torch.optim.Optimizer:
    """The recipe's optimizer over parameter groups; each group's `lr_factor` and `weight_decay` scale the recipe's.

    Raises BadData when no group holds a trainable parameter.
    """
    ready = []
    for group in groups:
        params = [p for p in group["params"] if p.requires_grad]
        if params:
            decay = how.weight_decay * group.get("weight_decay", 1.0)
            ready.append({"params": params, "weight_decay": decay, "lr_factor": group.get("lr_factor", 1.0)})
    if not ready:
        raise BadData("model", "nothing is trainable", fix="Freeze less with --freeze.")
    if how.optimizer == "sgd":
        return torch.optim.SGD(ready, lr=how.peak, momentum=how.momentum)
    kind = torch.optim.AdamW if how.optimizer == "adamw" else torch.optim.Adam
    # One kernel over all tensors: about a third off a small network's whole step, on a CPU as on a GPU.
    return kind(ready, lr=how.peak, eps=how.eps, fused=True)


def rate(step: int, steps: int, steps_per_epoch: int, how: OptimSection) -> float:
    """Learning rate of step `step` in [0, steps): linear warm-up to `lr`, then the schedule.

    Cosine falls to 0 after the last step (Loshchilov & Hutter 2017, eq. 5, without restarts).
    """
    warm = round(how.warmup * steps)
    if step < warm:
        return how.peak * (step + 1) / (warm + 1)
    if how.schedule == "constant":
        return how.peak
    if how.schedule == "step":
        return float(how.peak * how.gamma ** (step // (how.step_size * steps_per_epoch)))
    done = (step - warm) / max(1, steps - warm)
    return how.peak * 0.5 * (1 + math.cos(math.pi * done))


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group its share of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
