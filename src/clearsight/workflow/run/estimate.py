"""How long a run will take, from a few images put through a copy of the network."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from contextlib import nullcontext

import torch

from clearsight.training.job import Phase
from clearsight.workflow.prepare.setup import RunSetup

_PROBE = 4  # images: enough to be past fixed costs, few enough not to be felt
_FORWARD_SHARE = 1 / 3  # of a training step: the backward pass costs about twice the forward pass


def estimate(setting: RunSetup, phases: Sequence[Phase]) -> float:
    """Seconds of training and validation to expect; phases on cached features count as nothing beside the others."""
    total = 0.0
    for phase in phases:
        if phase.cached:
            continue
        phase.enter()
        phase.train_mode()
        each = _seconds_per_image(setting)
        total += phase.epochs * each * (len(setting.train) + _FORWARD_SHARE * len(setting.valid)) / setting.world.size
    return total


def _seconds_per_image(setting: RunSetup) -> float:
    twin = copy.deepcopy(setting.network.model)  # statistics of BatchNorm move in a training step
    size, placement = setting.network.preprocess.size, setting.placement
    images = torch.zeros(_PROBE, 3, size, size, device=placement.device).contiguous(
        memory_format=placement.memory_format
    )
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(placement.precision)

    def step() -> None:
        with torch.autocast(placement.device.type, dtype=half) if half else nullcontext():
            loss = twin(images).float().square().sum()
        loss.backward()
        if placement.device.type == "cuda":
            torch.cuda.synchronize(placement.device)

    step()  # the first one sets up kernels
    began = time.perf_counter()
    step()
    return (time.perf_counter() - began) / _PROBE
