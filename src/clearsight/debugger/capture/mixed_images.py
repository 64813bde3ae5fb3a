"""MixedBatches: whether labels follow where a loop mixes the images of a batch. N images."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 8  # images that are looked at
_MOST = 128  # images of a batch: all of them may be the other part of a mixture
_PIXELS = 4  # for each image of the batch, so that no other image fits by chance
_REST = 5e-3  # relative error of a mixture, in half precision too
_EQUAL = 0.02  # of a share
_USUAL = 0.75  # of the images must be mixtures of two: one that is there twice has no certain shares

_LEAST = 2  # batches


class MixedBatches:
    """Follows the losses of batches whose images are mixtures.

    A loss that follows a mixture is made of two, or gets shares of classes. One that gets the labels as they were
    drawn, and alone, does not.
    """

    def __init__(self) -> None:
        self._shares: list[float] = []
        self._mixture: tuple[float, Tensor] | None = None
        self._losses = self._drawn = 0  # of the batch under way, and those of them that got the labels drawn

    @property
    def own_share(self) -> float:
        """Mean share of its first that an image has where the labels do not follow; 1 where they do."""
        return sum(self._shares) / len(self._shares) if len(self._shares) >= _LEAST else 1.0

    def begin(self, mixture: tuple[float, Tensor] | None) -> None:
        """Begin a pass. mixture: share of its first that each image has, and the labels drawn, (N,); None for none."""
        if self._mixture is not None and self._losses:
            self._shares.append(self._mixture[0] if self._losses == self._drawn == 1 else 1.0)
        self._mixture, self._losses, self._drawn = mixture, 0, 0

    def on_targets(self, targets: Tensor) -> None:
        """Follow a loss of the pass."""
        if self._mixture is not None:
            self._losses += 1
            first, second = targets.detach().flatten().cpu(), self._mixture[1].detach().flatten().cpu()
            self._drawn += first.shape == second.shape and bool((first == second).all())


@torch.no_grad()
def own_share(images: Tensor, inputs: Tensor) -> float | None:
    """Return the median share of its own image in mixtures of two images of a batch; None where they are none.

    images: (N, ...) as drawn.  inputs: (N, ...) as the model gets them. Mixtures are `share * image + (1 - share) *
    other`, as in Zhang et al. 2018, "mixup", section 2. Each is found by least squares over all images of the batch.
    """
    count = len(images)
    if images.shape != inputs.shape or not 2 <= count <= _MOST:
        return None
    flat, given = images.flatten(1), inputs[:_ROWS].flatten(1)
    stride = max(1, flat.shape[1] // max(256, _PIXELS * count))
    basis, rows = flat[:, ::stride].T.double().cpu(), given[:, ::stride].T.double().cpu()
    if len(basis) < 2 * count or not (basis.isfinite().all() and rows.isfinite().all()):
        return None
    shares = torch.linalg.lstsq(basis, rows, driver="gelsd").solution
    error = (basis @ shares - rows).norm(dim=0) / rows.norm(dim=0).clamp_min(1e-12)
    places = torch.arange(len(given))
    first = shares[places, places].clone()
    shares[places, places] = 0.0
    other = shares.max(dim=0).values
    rest = shares.abs().sum(dim=0) - other
    mixed = (error < _REST) & ((first + other - 1).abs() < _EQUAL) & (rest < _EQUAL)
    mixed &= (first > _EQUAL) & (first < 1 - _EQUAL)
    return float(first[mixed].median()) if mixed.double().mean() >= _USUAL else None
