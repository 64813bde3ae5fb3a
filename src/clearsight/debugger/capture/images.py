"""Images as a model gets them: what a batch looks like, channel by channel. N images, C channels, H x W pixels."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_CHANNELS = 4  # grey, RGB, RGBA: more channels are feature maps, not images
_HASHED = 1024  # elements of an image that make its fingerprint: different photographs differ in nearly all of them
_SPREAD = 0x9E3779B97F4A7C  # bits of the golden ratio: neighbouring places get unlike factors


def are_images(tensor: Tensor) -> bool:
    """Return True for a tensor (N, C <= 4, H, W) with elements."""
    return tensor.dim() == 4 and 1 <= tensor.shape[1] <= _MOST_CHANNELS and tensor.numel() > 0


@torch.no_grad()
def channels(tensor: Tensor) -> Tensor:
    """Return (C, 4) float32: mean, standard deviation (of the population), min and max of each channel of the batch."""
    # In float32: sums of a batch of half-precision pixels would overflow.
    pixels = tensor.detach().float()
    std, mean = torch.std_mean(pixels, dim=(0, 2, 3), correction=0)
    return torch.stack([mean, std, pixels.amin((0, 2, 3)), pixels.amax((0, 2, 3))], 1)


@torch.no_grad()
def fingerprints(tensor: Tensor) -> Tensor:
    """Return (N,) int64: equal for images of equal elements, and for others equal only by chance.

    They show which images come again, and whether they come unchanged, without keeping any image. A sum of the bits
    of about 1,024 elements spread over the image, each times an odd number that depends on its place, modulo 2^64.
    Integer sums are exact on any device, whatever their order.
    """
    flat = tensor.detach().float().flatten(1)
    stride = max(1, flat.shape[1] // _HASHED) | 1  # odd, so that it visits all columns of an image
    bits = flat[:, ::stride].contiguous().view(torch.int32).long()
    place = torch.arange(bits.shape[1], device=bits.device)
    factors = place * _SPREAD + 1 | 1  # odd ones lose no bit of their element
    return (bits * factors).sum(1)
