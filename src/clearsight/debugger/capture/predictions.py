"""Predictions of a classifier: logits beside labels, and what follows from them. N images of a batch, C classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

Array = npt.NDArray[np.float64]
# What a single output per image is: the logit or the probability of the second of two classes.
Single = Literal["", "logit", "probability"]
SINGLE_OUTPUTS: dict[str, Single] = {"BCEWithLogitsLoss": "logit", "BCELoss": "probability"}  # by the loss

IGNORED = -100  # label that counts nowhere, as in torch's losses
_EQUAL = 1e-3  # difference up to which two shares are equal, in half precision too
_LINE, _CURVE = 8, 16  # images that make a line, and a smooth curve, no accident
_DEGREE, _OFF = 5, 0.03  # of a polynomial that is smooth, and how far off gradients may be, of their range
_SPREAD = 1e-3  # of their outputs
_MIXED = 0.02  # a mean of labels of both classes is so far from 0 and 1
_CERTAIN = 1e-6  # distance from 0 and 1 of a probability whose logit is computed


@dataclass(frozen=True, slots=True)
class BatchPredictions:
    """Predictions of one batch, all on the device of the logits.

    logits: (N, C) float32.  labels, predictions, indices: (N,) int64; an index is the place in the split, or -1.
    single: what the model's one output per image is; "" for an output per class.
    """

    logits: Tensor
    labels: Tensor
    predictions: Tensor
    indices: Tensor
    single: Single = ""

    @classmethod
    def of(
        cls, logits: Any, labels: Any, indices: Any = None, single: Single = "", outputs: Tensor | None = None
    ) -> BatchPredictions | None:
        """Return predictions where the two are a classification, else None. Tensors on any device, arrays or lists.

        logits: (N, C), C at least 2, or with `single` (N, 1) or (N,).  labels: (N,) whole numbers, or (N, C) shares, of
        which the largest counts where there is one; with `single` N numbers from 0 to 1.  outputs: (N, C) of the model,
        where a loss gets something else: a margin or a prior of the classes in them is no part of the prediction.
        """
        logits, labels = as_tensor(logits), as_tensor(labels)
        if single:
            if logits.numel() != labels.numel() or not logits.is_floating_point() or logits.dim() > 2:
                return None
            logits, labels = class_logits(logits, single), (labels.reshape(-1) > 0.5).long()
        if logits.dim() != 2 or logits.shape[1] < 2 or not logits.is_floating_point() or len(labels) != len(logits):
            return None
        labels = labels.to(logits.device, non_blocking=True)  # a blocking copy waits for the whole device
        # Shares of classes, as of label smoothing and mixup.
        if labels.is_floating_point():
            if labels.shape != logits.shape:
                return None
            labels = _largest_share(labels)
        if labels.dim() != 1:
            return None
        with torch.no_grad():
            # In float32: softmax of half precision rounds small probabilities to 0.
            scores = logits.float()
            predictions = _predicted(scores, outputs)
        places = torch.full_like(predictions, -1) if indices is None else as_tensor(indices)
        return cls(scores, labels.long(), predictions, places.to(predictions, non_blocking=True), single)

    @torch.no_grad()
    def columns(self) -> list[Tensor]:
        """Return the fields of a PredictionRecord: labels, predictions, confidence, true_probability, indices."""
        shares = functional.softmax(self.logits, 1)
        confidence = shares.gather(1, self.predictions[:, None])[:, 0]
        known = self.labels.clamp(0, self.logits.shape[1] - 1)  # an ignored label is no index; dropped later
        true = shares.gather(1, known[:, None])[:, 0]
        return [self.labels, self.predictions, confidence, true, self.indices]

    @torch.no_grad()
    def loss(self) -> Tensor:
        """Return the mean cross entropy, ()."""
        return functional.cross_entropy(self.logits, self.labels, ignore_index=IGNORED)

    @torch.no_grad()
    def accuracy(self) -> Tensor:
        """Return the share of labels that were predicted, ()."""
        return (self.predictions == self.labels).float().mean()


def _predicted(scores: Tensor, outputs: Tensor | None) -> Tensor:
    """Return (N,) int64, the predicted classes: by the outputs of the model where scores (N, C) grow with them."""
    predictions = _largest(scores)
    if (
        outputs is None
        or not outputs.is_floating_point()
        or outputs.shape != scores.shape
        or outputs.device != scores.device
    ):
        return predictions
    raw = outputs.float()
    # Distances become scores by their sign. Nothing here waits for a device.
    agreement = ((raw - raw.mean(1, keepdim=True)) * (scores - scores.mean(1, keepdim=True))).sum()
    return torch.where(agreement > 0, _largest(raw), predictions)


def _largest(scores: Tensor) -> Tensor:
    """Return (N,) int64, the place of the largest of each row (N, C), or of its first NaN."""
    if scores.device.type != "cpu":
        return scores.argmax(1)
    return torch.from_numpy(scores.numpy().argmax(1))  # in a seventh of torch's time on a CPU


@torch.no_grad()
def _largest_share(shares: Tensor) -> Tensor:
    """Return (N,) int64, the place of the largest of each row (N, C), or -100 where several are the largest."""
    ends = shares.topk(min(2, shares.shape[1]), 1)
    return torch.where(ends.values[:, 0] > ends.values[:, -1], ends.indices[:, 0], IGNORED)


@torch.no_grad()
def label_below_others(shares: Tensor) -> Tensor | None:
    """Return () bool: True if each row (N, C) of shares of classes has equal ones but for one, which is less.

    None for targets that are no shares of three classes or more.
    """
    if not shares.is_floating_point() or shares.dim() != 2 or shares.shape[1] < 3 or not len(shares):
        return None
    ordered = shares.detach().float().sort(1).values
    least, second, largest = ordered[:, 0], ordered[:, 1], ordered[:, -1]
    return ((largest - second < _EQUAL) & (second - least > _EQUAL)).all()


def pulled_to_one_label(shares: Array, gradients: Array) -> bool:
    """Return True if gradients (N,) follow from the shares (N,) alone, and pull every image to one mixed label.

    shares: probabilities of the label 1, of images with labels of both kinds. A line for a binary cross entropy, and
    for losses that weigh images by how sure they are a smooth curve through 0 that ends higher than it begins. With
    labels of its own each image with the label 1 is pulled up, a fifth of the curve's height off at least.
    """
    if len(shares) < _LINE or not np.isfinite(gradients).all() or shares.std() < _SPREAD:
        return False
    slope, offset = np.polyfit(shares, gradients, 1)
    width = float(np.ptp(gradients))
    if slope != 0 and float(np.abs(gradients - slope * shares - offset).max()) < _EQUAL * width:
        return bool(_MIXED < -offset / slope < 1 - _MIXED)
    ends = gradients[shares.argmin()], gradients[shares.argmax()]
    if len(shares) < _CURVE or not (gradients.min() < 0 < gradients.max() and ends[0] < ends[1]):
        return False
    powers = np.vander(shares, _DEGREE + 1)
    factors = np.linalg.lstsq(powers, gradients, rcond=None)[0]
    return float(np.abs(powers @ factors - gradients).max()) < _OFF * width


@torch.no_grad()
def class_logits(outputs: Tensor, single: Single) -> Tensor:
    """Return the logits of both classes, (N, 2), of one output per image; several outputs are returned as they are."""
    if not single:
        return outputs
    scores = outputs.detach().float().reshape(-1)
    if single == "probability":
        scores = torch.logit(scores, eps=_CERTAIN)
    return torch.stack([torch.zeros_like(scores), scores], 1)


def as_tensor(value: Any) -> Tensor:
    """Return a tensor, an array or a list as a tensor without gradient."""
    return value.detach() if isinstance(value, Tensor) else torch.as_tensor(value)


@torch.no_grad()
def output_range(logits: Tensor) -> Tensor:
    """Return (4,): smallest and largest logit, mean and standard deviation over the batch of the sum of a row."""
    rows = logits.sum(1)
    return torch.stack([logits.min(), logits.max(), rows.mean(), rows.std(correction=0)])
