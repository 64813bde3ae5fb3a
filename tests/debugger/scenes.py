"""Synthetic scenes whose class can be seen in a thumbnail, and saved thumbnails of them. N images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from clearsight.core.tensors import Mode, Moment, RawTensor
from clearsight.debugger.analysis.thumbnails import Thumbnails
from clearsight.debugger.capture import samples

CLASSES = 4
_COLOURS = torch.tensor([[0.6, 0.0, -0.4], [0.0, 0.5, -0.3], [0.3, 0.3, 0.0], [-0.2, 0.0, 0.1]])


def scenes(count: int = 160, *, seed: int, side: int = 24) -> tuple[Tensor, Tensor]:
    """Return scenes (N, 3, side, side), bluer at the top, and labels (N,), which the tint of a scene tells."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=draw)
    coarse = torch.randn(count, 3, 6, 6, generator=draw)
    images = functional.interpolate(coarse, side, mode="bilinear") + 0.2 * torch.randn(
        count, 3, side, side, generator=draw
    )
    sky = torch.linspace(1, -1, side).view(1, 1, side, 1) * torch.tensor([0.3, 0.5, 0.9]).view(1, 3, 1, 1)
    return images + sky + _COLOURS[labels].view(count, 3, 1, 1), labels


def mirrored(images: Tensor, *, seed: int = 0) -> Tensor:
    """Return the images, every second one by chance mirrored left to right."""
    flip = torch.rand(len(images), generator=torch.Generator().manual_seed(seed)) < 0.5
    return torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)


def shifted(images: Tensor, *, seed: int = 0, most: int = 3) -> Tensor:
    """Return the images moved by up to `most` pixels, each by its own shift, with 0 at the border."""
    places = torch.randint(0, 2 * most + 1, (len(images), 2), generator=torch.Generator().manual_seed(seed)).tolist()
    side, padded = images.shape[3], functional.pad(images, (most,) * 4)
    return torch.stack([image[:, y : y + side, x : x + side] for image, (y, x) in zip(padded, places, strict=True)])


def erased(images: Tensor, *, seed: int = 0) -> Tensor:
    """Return the images with a square of 0 in each, a third as wide."""
    side, result = images.shape[3], images.clone()
    places = torch.randint(0, side - side // 3, (len(images), 2), generator=torch.Generator().manual_seed(seed))
    for image, (y, x) in zip(result, places.tolist(), strict=True):
        image[:, y : y + side // 3, x : x + side // 3] = 0
    return result


def thumbnails(images: Tensor, labels: Tensor | None = None) -> Thumbnails:
    """Return thumbnails as the debugger saves them; without labels they are not known."""
    pixels = samples.thumbnails(images).double().numpy().reshape(len(images), -1, 12, 12)
    known = np.full(len(images), np.nan) if labels is None else labels.double().numpy()
    return Thumbnails(1, pixels, known, known)


def thumbnail_record(images: Tensor, labels: Tensor, mode: Mode, train_step: int) -> RawTensor:
    """Return the record that the debugger saves of the images and labels of a mode."""
    columns = labels[:, None].float()
    rows = torch.cat([samples.thumbnails(images), columns, columns], 1).numpy()
    return RawTensor(Moment(mode, 1 if mode == "eval" else train_step, 1, train_step), "thumbnails", "inputs", rows)
