"""Images as a model gets them: what a batch looks like, channel by channel. N images, C channels, H x W pixels."""

from __future__ import annotations

import torch
from torch import Tensor

_CHANNELS = 4
_LOOKED_AT = 1024  # elements of an image that make its fingerprint
_SPREAD = 0x9E3779B97F4A7C  # the golden ratio's bits: neighbouring places get unlike factors


def are_images(tensor: Tensor) -> bool:
    """Whether it is (N, C <= 4, H, W)."""
    return tensor.dim() == 4 and 1 <= tensor.shape[1] <= _CHANNELS and tensor.numel() > 0


@torch.no_grad()
def channels(tensor: Tensor) -> Tensor:
    """(C, 4) float32: mean, standard deviation (of the population), min and max of each channel of the batch."""
    pixels = tensor.detach().float()
    std, mean = torch.std_mean(pixels, dim=(0, 2, 3), correction=0)
    return torch.stack([mean, std, pixels.amin((0, 2, 3)), pixels.amax((0, 2, 3))], 1)


@torch.no_grad()
def fingerprints(tensor: Tensor) -> Tensor:
    """(N,) int64: equal for images of equal elements, and by chance alone for others.

    A sum of the bits of about 1,024 elements spread over the image, each times an odd number of its own, modulo 2^64:
    exact on any device, whatever the order of the sum.
    """
    flat = tensor.detach().float().flatten(1)
    stride = max(1, flat.shape[1] // _LOOKED_AT) | 1  # odd, so that it visits all columns of an image
    bits = flat[:, ::stride].contiguous().view(torch.int32).long()
    place = torch.arange(bits.shape[1], device=bits.device)
    return (bits * (place * _SPREAD + 1 | 1)).sum(1)
