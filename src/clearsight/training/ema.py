"""AveragedWeights: a running average of the weights, swapped in for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


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
