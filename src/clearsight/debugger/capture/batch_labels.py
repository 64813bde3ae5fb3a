"""Labels that a DataLoader returns beside the images, for passes whose loss nobody has seen. N images, C outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clearsight.debugger.capture.mixed_images import own_share
from clearsight.debugger.capture.predictions import SINGLE_OUTPUTS, BatchPredictions

_NAMES = ("labels", "label", "targets", "target", "y")  # keys of a batch that is a mapping
_COMPARED = 4  # batches of a loader whose images are compared with what the model gets
_MIXTURES = 16  # and where they are mixed, with a share that is another one in each batch
CLASS_LOSSES = frozenset({"CrossEntropyLoss", "NLLLoss"})  # of one output per class


@dataclass(frozen=True, slots=True)
class DrawnBatch:
    """A batch as it left its DataLoader; `images` is the first tensor of floats, `labels` a vector of N or None."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, batch: Any) -> DrawnBatch | None:
        """Return the parts of a tuple, list or mapping; None where images or labels cannot be told."""
        parts = list(_tensors(batch))
        images = next((tensor for tensor in parts if tensor.is_floating_point() and tensor.dim() > 1), None)
        if images is None:
            return None
        if isinstance(batch, Mapping):
            named = [batch[name] for name in _NAMES if isinstance(batch.get(name), Tensor)]
            labels = next(iter(named), None)
        else:
            # Datasets return the label behind the image; what follows may be an index.
            labels = next((tensor for tensor in parts if tensor is not images and _is_vector(tensor)), None)
        return cls(images, labels) if labels is not None and _is_vector(labels, len(images)) else None


class BatchComparison:
    """Tells whether the model gets the very batches that a DataLoader returned last.

    Some loops draw a batch ahead of the one that they train on, and others change it: the labels are not its own then.
    share: of its own that each image has in the batch compared last, where images are mixed; None for no mixture.
    """

    def __init__(self) -> None:
        self._compared, self._differs, self._most = 0, False, _COMPARED
        self.share: float | None = None

    @property
    def same(self) -> bool:
        """True where the model got every batch that was compared as it was drawn."""
        return self._compared > 0 and not self._differs

    def labels(self, drawn: DrawnBatch | None, inputs: Tensor | None) -> Tensor | None:
        """Return the labels of what the model gets, (N,); None where not known. Waits for a GPU a few times."""
        self.share = None
        if drawn is None or inputs is None or len(inputs) != len(drawn.images):
            return None
        if self._compared < self._most:
            self._compared += 1
            if not _equal(drawn.images, inputs):
                self._differs, self.share = True, own_share(drawn.images, inputs)
                self._most = _MIXTURES if self.share is not None else self._most
        return None if self._differs else drawn.labels


def batch_predictions(outputs: Tensor, labels: Tensor, loss: str, highest: int) -> BatchPredictions | None:
    """Return the predictions of a pass with the labels of its batch; None where the outputs may be no classes.

    outputs: (N, C), or (N, 1) or (N,) of a single output.  loss: class of the loss that trains, "" for not known.
    highest: label seen so far. Outputs that nobody explains are classes where there is exactly one for each label.
    """
    single = SINGLE_OUTPUTS.get(loss, "")
    is_explained = bool(single) or loss in CLASS_LOSSES
    if not is_explained and (loss or outputs.dim() != 2 or outputs.shape[1] != highest + 1):
        return None
    if not single and labels.is_floating_point():
        return None
    return BatchPredictions.of(outputs, labels, single=single)


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, (tuple, list)):
        yield from (part for part in batch if isinstance(part, Tensor))
    elif isinstance(batch, Mapping):
        yield from (part for part in batch.values() if isinstance(part, Tensor))


def _is_vector(tensor: Tensor, size: int | None = None) -> bool:
    flat = tensor.dim() == 1 or (tensor.dim() == 2 and tensor.shape[1] == 1)
    return flat and (size is None or len(tensor) == size)


@torch.no_grad()
def _equal(images: Tensor, inputs: Tensor) -> bool:
    """Return True if the first and the last image are equal."""
    if images is inputs:
        return True
    ends = (0, -1)
    return images.shape == inputs.shape and all(torch.equal(images[end].cpu(), inputs[end].cpu()) for end in ends)
