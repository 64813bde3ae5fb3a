"""The training loss: cross-entropy with class weights and smoothing, over hard labels or those of mixup and CutMix.

N images, C classes: images (N, 3, H, W), logits (N, C), labels (N,), weights (C,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Target:
    """Labels of a batch. Mixed batches have a second label per image, `others`, and the share of the first one."""

    labels: Tensor
    others: Tensor | None = None
    share: Tensor | None = None


def weighted_loss(logits: Tensor, target: Target, weights: Tensor | None, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return the sums of weighted losses and of weights; added up over any batches, their ratio is the mean loss."""
    first, weight = _losses(logits, target.labels, weights, smoothing)
    # Two losses, not one with soft labels: each of the two labels counts with its own class weight.
    if target.others is None or target.share is None:
        return (first * weight).sum(), weight.sum()
    second, other_weight = _losses(logits, target.others, weights, smoothing)
    share = target.share
    total = share * first * weight + (1 - share) * second * other_weight
    return total.sum(), (share * weight + (1 - share) * other_weight).sum()


def _losses(logits: Tensor, labels: Tensor, weights: Tensor | None, smoothing: float) -> tuple[Tensor, Tensor]:
    # float(): under autocast logits have half precision, which is too coarse for the logarithm and the sum.
    losses = F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)
    return losses, torch.ones_like(losses) if weights is None else weights[labels]


def balanced_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Return (C,) weights N / (C * count), with which all classes count equally; a class without images gets 0.

    Source: King & Zeng 2001, "Logistic Regression in Rare Events Data", section 4.2, as in scikit-learn's "balanced".
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    present = counts > 0
    weights = np.zeros(classes)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)


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
