"""Time of a training step of a network, measured on a copy before the training, for estimates and for choices.

It is the time of the network alone: neither loading images nor validation is in it.
"""

from __future__ import annotations

import copy
import time

import torch

from clearsight.models.network import Network
from clearsight.training.device import Placement, autocast

_IMAGES = 4  # enough to be past fixed costs, few enough not to be noticed


def step_seconds(network: Network, placement: Placement) -> float:
    """Return the seconds per image of one training step, with the parameters that are trainable now.

    The step is taken on a copy, since the statistics of BatchNorm change in a step.
    """
    twin, size = copy.deepcopy(network.model), network.preprocess.size
    images = torch.zeros(_IMAGES, 3, size, size, device=placement.device)
    images = images.contiguous(memory_format=placement.memory_format)

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
