"""A running average of the weights, swapped in for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class AveragedWeights:
    """Exponential moving average of named tensors, with a decay that starts low so that early epochs are not stale.

    decay at update t is min(decay, (1 + t) / (10 + t)), the warm-up of TensorFlow's ExponentialMovingAverage.
    Integer tensors (BatchNorm's counters) are copied, not averaged.
    """

    def __init__(self, live: Mapping[str, Tensor], decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: tensor.detach().clone() for name, tensor in live.items()}

    @torch.no_grad()
    def update(self, live: Mapping[str, Tensor]) -> None:
        """Move the average towards the live weights."""
        self.updates += 1
        pull = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, average in self.values.items():
            if average.is_floating_point():
                average.lerp_(live[name], pull)
            else:
                average.copy_(live[name])

    @contextmanager
    def swapped(self, live: Mapping[str, Tensor]) -> Iterator[None]:
        """Within the block the live tensors hold the average; after it, what they held before."""
        kept = {name: tensor.detach().clone() for name, tensor in live.items()}
        try:
            _copy(self.values, live)
            yield
        finally:
            _copy(kept, live)


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
