"""Mixup and CutMix: training images blended in pairs, on the device. N images (N, 3, H, W)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clearsight.training.loss import Target


def mix(images: Tensor, labels: Tensor, mixup: float, cutmix: float, rng: np.random.Generator) -> tuple[Tensor, Target]:
    """Blend each image with another of the batch; with both alphas above 0, one of the two ways is drawn per batch.

    mixup, cutmix: alpha of the Beta distribution of the share; 0 is off. With both 0 the images are returned unchanged.
    Sources: Zhang et al. 2018, "mixup", section 2; Yun et al. 2019, "CutMix", section 3.1.
    """
    if not mixup and not cutmix:
        return images, Target(labels)
    partner = torch.from_numpy(rng.permutation(len(labels))).to(labels.device)
    cut = cutmix > 0 and (mixup == 0 or rng.random() < 0.5)
    alpha = cutmix if cut else mixup
    share = float(rng.beta(alpha, alpha))
    if cut:
        images, share = _paste(images, partner, share, rng)
    else:
        images = images * share + images[partner] * (1 - share)
    shares = torch.full((len(labels),), share, device=labels.device)
    return images, Target(labels, labels[partner], shares)


def _paste(images: Tensor, partner: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    height, width = images.shape[2:]
    side = np.sqrt(1 - share)
    half_h, half_w = int(height * side) // 2, int(width * side) // 2
    y, x = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = max(0, y - half_h), min(height, y + half_h)
    left, right = max(0, x - half_w), min(width, x + half_w)
    pasted = images.clone()
    pasted[:, :, top:bottom, left:right] = images[partner][:, :, top:bottom, left:right]
    # The box may be cut off at an edge: the share follows from the pixels that were really pasted.
    return pasted, 1 - (bottom - top) * (right - left) / (height * width)
