"""BatchInfo: size, origin and images of a batch from a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_MAX_DEPTH = 4  # levels of lists and mappings in a batch; a batch that contains itself must end too


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """Facts about a batch.

    size: samples.  bytes: of its tensors.  first: of its epoch.  workers, prefetch: of the loader, 0 without any.
    images: (N, 3, H, W), where the batch has such a tensor in the memory of this process; not a copy.
    """

    size: int
    bytes: int
    first: bool
    workers: int
    prefetch: int
    images: npt.NDArray[Any] | None

    @classmethod
    def of(cls, batch: Any, iterator: Any) -> BatchInfo:
        """Return the facts about the last batch from the iterator of a DataLoader."""
        tensors = list(_tensors(batch))
        workers = int(getattr(iterator, "_num_workers", 0))
        return cls(
            size=next((len(tensor) for tensor in tensors if tensor.ndim), 0),
            bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            first=getattr(iterator, "_num_yielded", 0) == 1,
            workers=workers,
            prefetch=int(getattr(iterator, "_prefetch_factor", 0) or 0) if workers else 0,
            images=next((images for tensor in tensors if (images := _images(tensor)) is not None), None),
        )


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif depth < _MAX_DEPTH and isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner, depth + 1)


def _images(tensor: Tensor) -> npt.NDArray[Any] | None:
    # A subclass of Tensor may compute lazily or be quantised, and one with a gradient cannot become an array.
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu" and not tensor.requires_grad
    if not plain or tensor.ndim != 4 or tensor.shape[1] != 3 or tensor.dtype not in (torch.float32, torch.uint8):
        return None
    return np.asarray(tensor.numpy())
