"""Batches: what the loop trains on, tensors made from images or from cached features. N images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearsight.training.protocols import NullStopwatch, Stopwatch


@dataclass(frozen=True, slots=True)
class Batch:
    """inputs: (N, 3, H, W) images or (N, ...) features, float.  labels: (N,) int64.  indices: (N,) into the split."""

    inputs: Tensor
    labels: Tensor
    indices: npt.NDArray[np.int64]
    ids: tuple[str, ...]


class Batches(Protocol):
    """Epochs of batches. The order is a pure function of the epoch, so that `start` continues where a run stopped."""

    @property
    def steps(self) -> int:
        """Batches in an epoch, the same on every rank."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch `start` on."""


class PixelLoader(Protocol):
    """Source of batches free of torch, with images (N, S, S, 3) uint8, labels (N,) int64, indices and ids."""

    @property
    def steps(self) -> int: ...
    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...


class ImageBatches:
    """Batches of normalised images from a loader of uint8 pixels.

    Pixels travel to the device as bytes, a quarter of the traffic of float32, and are normalised there: by the same
    multiplication and addition in float32 as at an endpoint, so that both agree to the last bit.
    """

    def __init__(
        self,
        loader: PixelLoader,
        scale_shift: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
        device: torch.device,
        memory_format: torch.memory_format,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self._loader, self._device, self._format = loader, device, memory_format
        self._stopwatch = stopwatch or NullStopwatch()
        scale, shift = scale_shift
        # Copies: the arrays may be read-only, which torch warns about.
        self._scale = torch.from_numpy(scale.copy()).to(device).view(1, 3, 1, 1)
        self._shift = torch.from_numpy(shift.copy()).to(device).view(1, 3, 1, 1)

    @property
    def steps(self) -> int:
        return self._loader.steps

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        for batch in self._loader.epoch(number, start):
            self._stopwatch.note_images(batch.images)
            with self._stopwatch.phase("transfer"):
                pixels = self._send(torch.from_numpy(batch.images)).permute(0, 3, 1, 2)  # NHWC: channels_last
                images = (pixels.float() * self._scale + self._shift).contiguous(memory_format=self._format)
                sent = Batch(images, self._send(torch.from_numpy(batch.labels)), batch.indices, batch.ids)
            yield sent

    def _send(self, tensor: Tensor) -> Tensor:
        if self._device.type == "cuda":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor


log = logging.getLogger(__name__)

Order = Callable[[int], npt.NDArray[np.int64]]  # epoch -> indices of this rank, in order


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureTime:
    """Time of computing features. pass_seconds: one pass over the images through the frozen part.

    computed_seconds: all passes that this run made itself; 0 when it read every feature from the cache.
    """

    pass_seconds: float = 0.0
    computed_seconds: float = 0.0


class FeatureSource(Protocol):
    """Features that are read from a cache, or computed, when they are first needed."""

    def read(self) -> tuple[Tensor, FeatureTime]:
        """Return the features (V, N, ...), and the time of computing them; raises MemoryError if they do not fit."""

    def epoch(self, number: int, start: int) -> Iterator[Batch]:
        """Yield the batches of an epoch with features that are computed from the images, batch by batch."""

    def seconds(self) -> float:
        """Return how long `read` will take, measured on a few images; 0 if nothing is to be computed."""


class FeatureBatches:
    """Batches of features of a frozen part, in the order in which the images would come.

    views: (V, N, ...) features, or where to read them; epoch e uses view (e - 1) mod V.  labels: (N,).
    Features that do not fit into memory are computed again in every epoch, as without a cache.
    """

    def __init__(
        self,
        views: Tensor | FeatureSource,
        labels: npt.NDArray[np.int64],
        ids: tuple[str, ...],
        order: Order,
        batch_size: int,
        *,
        time: FeatureTime | None = None,
    ) -> None:
        self._source = None if isinstance(views, Tensor) else views
        self._features = (views, time or FeatureTime()) if isinstance(views, Tensor) else None
        self.labels, self._ids, self._order, self._size = labels, ids, order, batch_size
        self._too_large = False

    @property
    def views(self) -> Tensor:
        """The features (V, N, ...), see `read`. Raises MemoryError if they do not fit."""
        return self._read()[0]

    def read(self) -> bool:
        """Read or compute the features, which may take minutes; False if they do not fit into memory."""
        if not self._too_large:
            try:
                self._read()
            except MemoryError:
                self._too_large = True
                log.warning("note: the features do not fit into memory; every epoch computes them again.")
        return not self._too_large

    @property
    def is_read(self) -> bool:
        """True after the first use of `views`."""
        return self._features is not None

    @property
    def time(self) -> FeatureTime:
        return self._read()[1]

    def _read(self) -> tuple[Tensor, FeatureTime]:
        if self._features is None:
            assert self._source is not None
            self._features = self._source.read()
        return self._features

    def seconds_to_read(self) -> float:
        """Return how long the first use of `views` will take."""
        return self._source.seconds() if self._features is None and self._source is not None else 0.0

    @property
    def steps(self) -> int:
        return -(-len(self._order(1)) // self._size)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        if not self.read():
            assert self._source is not None
            yield from self._source.epoch(number, start)
            return
        features = self.views[(number - 1) % len(self.views)]
        order = self._order(number)
        for step in range(start, self.steps):
            chosen = order[step * self._size : (step + 1) * self._size]
            index = torch.from_numpy(chosen).to(features.device)
            labels = torch.from_numpy(self.labels[chosen]).to(features.device)
            # float(): large maps are cached in half precision.
            yield Batch(features[index].float(), labels, chosen, tuple(self._ids[i] for i in chosen))
