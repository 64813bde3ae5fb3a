"""Estimated duration of a training run, from a few images put through a copy of the network."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence

import torch
from torch import nn

from clearsight.training.device import Placement, autocast
from clearsight.training.job import Phase

_IMAGES = 4  # enough to be past fixed costs, few enough not to be noticed
_FORWARD_SHARE = 1 / 3  # of a training step: the backward pass costs about twice the forward pass


def estimate_seconds(
    phases: Sequence[Phase], model: nn.Module, image_size: int, placement: Placement, images: tuple[float, float]
) -> float:
    """Return the seconds of training and validation to expect; phases on cached features count as 0.

    images: training and validation images of this process.
    """
    train, valid = images
    total = 0.0
    for phase in phases:
        if phase.cached:
            continue
        phase.enter()
        phase.train_mode()
        total += phase.epochs * _seconds_per_image(model, image_size, placement) * (train + _FORWARD_SHARE * valid)
    return total


def _seconds_per_image(model: nn.Module, image_size: int, placement: Placement) -> float:
    """Time one training step of a copy: BatchNorm's statistics change in a step."""
    twin = copy.deepcopy(model)
    images = torch.zeros(_IMAGES, 3, image_size, image_size, device=placement.device).contiguous(
        memory_format=placement.memory_format
    )

    def step() -> None:
        with autocast(placement.device, placement.precision):
            loss = twin(images).float().square().sum()
        loss.backward()
        if placement.device.type == "cuda":
            torch.cuda.synchronize(placement.device)

    step()  # the first step sets up kernels and is not timed
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) / _IMAGES
