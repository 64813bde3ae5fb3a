"""Classifiers of a stream of images: a bundle on this machine, or an endpoint. Both keep the order of the images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from clearsight.core.bundle import MANIFEST
from clearsight.core.machine import cores
from clearsight.serving.payload import Prepared, Probabilities
from clearsight.serving.predictor import Predictor
from clearsight.workflow.deployment.endpoint_client import EndpointClient, remote_outcome
from clearsight.workflow.predictors import prepare_image
from clearsight.workflow.prepare.inputs import InputImage

T = TypeVar("T")

Outcome: TypeAlias = Probabilities | str  # a row (C,) that sums to 1, or why there is none
Classified: TypeAlias = tuple[InputImage, Outcome]

_NOT_FINITE = "the model gives numbers that are not finite"
_REQUESTS = 4  # at a time, to an endpoint


class Classifier(Protocol):
    """Model that classifies images. `batches` holds a fixed number of them in memory, whatever the length."""

    classes: tuple[str, ...]

    def batches(self, images: Iterator[InputImage], size: int) -> Generator[list[Classified], None, None]: ...


class BundleClassifier:
    """A predictor behind threads that decode. workers: their number.

    They decode the next batches while the calling thread runs the network on one. Each side is given every core: the
    system divides them, and neither spins while it waits.
    """

    def __init__(self, predictor: Predictor, workers: int | None = None) -> None:
        self.classes, self._predictor, self._workers = predictor.bundle.classes, predictor, workers or cores()

    def batches(self, images: Iterator[InputImage], size: int) -> Generator[list[Classified], None, None]:
        """Yield the images with their outcomes, at most `size` at a time."""
        with _pool(self._workers) as pool:
            # Two batches: one is gathered while the other is decoded.
            decoded = _ahead(pool, lambda image: prepare_image(image, self._predictor), images, 2 * size)
            while batch := list(islice(decoded, size)):
                yield self._classified(batch)

    def _classified(self, batch: list[tuple[InputImage, Prepared | str]]) -> list[Classified]:
        readable = [prepared for _, prepared in batch if not isinstance(prepared, str)]
        rows = iter(self._predictor.probabilities(np.stack(readable)) if readable else ())
        return [(image, prepared if isinstance(prepared, str) else _finite(next(rows))) for image, prepared in batch]


class EndpointClassifier:
    """An endpoint, asked for one image at a time from several threads. workers: their number."""

    def __init__(self, client: EndpointClient, workers: int | None = None) -> None:
        self.classes, self._client, self._workers = client.classes(), client, workers or _REQUESTS

    def batches(self, images: Iterator[InputImage], size: int) -> Generator[list[Classified], None, None]:
        """Yield the images with their outcomes, at most `size` at a time; EndpointUnavailable where it is gone."""
        with _pool(self._workers) as pool:
            responses = _ahead(pool, self._outcome, images, 2 * size)
            while batch := list(islice(responses, size)):
                yield batch

    def _outcome(self, image: InputImage) -> Outcome:
        outcome = remote_outcome(self._client, image)
        if isinstance(outcome, str):
            return outcome
        return np.array([outcome[name] for name in self.classes], np.float64)


def bundle_digest(folder: Path) -> str:
    """Return the SHA-256 of a bundle's manifest, which has the digests of all its files."""
    return sha256((folder / MANIFEST).read_bytes()).hexdigest()


def _finite(row: Probabilities) -> Outcome:
    return row if np.isfinite(row).all() else _NOT_FINITE


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[InputImage], T], images: Iterator[InputImage], count: int
) -> Iterator[tuple[InputImage, T]]:
    """Yield images with the function of each, computed for at most `count` images in advance."""
    pending: deque[tuple[InputImage, Future[T]]] = deque()
    while True:
        pending.extend((image, pool.submit(function, image)) for image in islice(images, count - len(pending)))
        if not pending:
            return
        image, future = pending.popleft()
        yield image, future.result()


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="clearsight-transform")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt the images that wait are not decoded
