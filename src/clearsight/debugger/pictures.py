"""Pictures as a model gets them: what a batch looks like, channel by channel. N pictures, C channels, H x W pixels."""

from __future__ import annotations

import torch
from torch import Tensor

_CHANNELS = 4


def are_pictures(tensor: Tensor) -> bool:
    """Whether it is (N, C <= 4, H, W)."""
    return tensor.dim() == 4 and 1 <= tensor.shape[1] <= _CHANNELS and tensor.numel() > 0


@torch.no_grad()
def channels(tensor: Tensor) -> Tensor:
    """(C, 4) float32: mean, standard deviation (of the population), min and max of each channel of the batch."""
    pixels = tensor.detach().float()
    std, mean = torch.std_mean(pixels, dim=(0, 2, 3), correction=0)
    return torch.stack([mean, std, pixels.amin((0, 2, 3)), pixels.amax((0, 2, 3))], 1)
