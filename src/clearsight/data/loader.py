"""Loader: a dataset as batches of bytes, in an order that depends on seed and epoch alone. It does not use torch."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from clearsight.core.dataset import Dataset, Pixels, Sample
from clearsight.core.errors import BadChoice, BadData, BadValue, ClearsightError, EmptyInput
from clearsight.core.preprocess import Augment, Preprocess
from clearsight.data.augment import augment, view_rng
from clearsight.data.decode import MAX_PIXELS, decode
from clearsight.data.geometry import crop, shrink
from clearsight.data.scan import digest

log = logging.getLogger(__name__)

Order: TypeAlias = Literal["sequential", "shuffled", "balanced"]
Indices: TypeAlias = npt.NDArray[np.int64]

ORDERS: tuple[Order, ...] = ("sequential", "shuffled", "balanced")

_ORDER_STREAM = 2  # first word of the seed; `augment.view_rng` has another
_AHEAD = 3  # batches in the making while one is consumed; each holds its pixels in memory
_SPARE = 1.5  # augmented images keep this many times the resolution of the evaluation resize


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Plan of turning a dataset into batches.

    order: "sequential" as listed, "shuffled", or "balanced" (as many draws as images, spread evenly over the
    classes; images of small classes repeat).
    workers: threads that read, decode and crop; 0 does it in the caller's thread. It does not change the batches.
    memory_bytes: budget for decoded images kept between epochs; it does not change the batches.
    rank, world: this process is number `rank` of `world` that share each epoch.
    drop_last: leave out a last batch that is smaller than the others.
    Raises BadValue or BadChoice when a value is out of its range.
    """

    batch_size: int
    _: KW_ONLY
    augment: Augment = field(default_factory=Augment)
    order: Order = "sequential"
    seed: int = 0
    workers: int = 2
    max_pixels: int = MAX_PIXELS
    rank: int = 0
    world: int = 1
    memory_bytes: int = 0
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise BadChoice(f"order {self.order!r}", "there is no such order", got=self.order, allowed=ORDERS)
        for name, value, low in (("batch_size", self.batch_size, 1), ("workers", self.workers, 0)):
            if value < low:
                raise BadValue(f"{name} {value}", f"it must be at least {low}")
        if not 0 <= self.rank < self.world:
            raise BadValue(f"rank {self.rank}", f"it must be at least 0 and below world, which is {self.world}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedBatch:
    """Images with labels and ids; the arrays belong to the consumer.

    images: (N, S, S, 3) uint8, C-contiguous.  labels: (N,) int64, -1 where there is none.
    ids: N sample ids.  indices: (N,) int64 into the dataset's samples.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    indices: Indices

    def __len__(self) -> int:
        return len(self.ids)


class PixelCache:
    """Stores the first images that fit `budget_bytes`, by id; the others are decoded each time.

    Nothing is ever evicted: epochs visit every image once, and least-recently-used would then drop each image just
    before it is wanted. Safe to use from several threads: two that miss the same id at the same time both compute it,
    and one of the results is stored.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget, self._used = budget_bytes, 0
        self._pixels: dict[str, Pixels] = {}
        self._lock = threading.Lock()

    def get(self, id: str, make: Callable[[], Pixels]) -> Pixels:
        """Return the image `id`, read-only; `make` is called (outside the lock) when it is not cached."""
        pixels = self._pixels.get(id)  # without the lock: one dict read is atomic, and entries never change
        if pixels is not None:
            return pixels
        pixels = make().view()  # a view, so that a source's own array stays as writeable as it was
        pixels.flags.writeable = False  # an augmentation in place would spoil later epochs
        with self._lock:
            if id not in self._pixels and self._used + pixels.nbytes <= self._budget:
                self._pixels[id] = pixels
                self._used += pixels.nbytes
        return pixels

    @property
    def used_bytes(self) -> int:
        """Return bytes of all cached images; never over the budget."""
        return self._used

    def __len__(self) -> int:
        return len(self._pixels)


class LoadTimes:
    """Sums since the start: seconds of "read", "decode", "augment" and "collate", and how many "images" and "bytes".

    Safe to use from several threads. It is wall time, not processor time: a thread that waits for its turn takes time
    too, and more threads than cores show up as parts that take longer.
    """

    def __init__(self) -> None:
        self._sums = dict.fromkeys(("read", "decode", "augment", "collate", "images", "bytes"), 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of the block as this part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, amount: float) -> None:
        with self._lock:  # `+=` on a dict entry is not atomic
            self._sums[name] += amount

    def sums(self) -> dict[str, float]:
        with self._lock:
            return dict(self._sums)


class Loader:
    """Batches of one dataset (usually one split), epoch after epoch.

    One loader may be used from one thread at a time. `memory` is what it keeps between epochs: the finished crop, or,
    with augmentation, the whole image, its short side first reduced to at most 1.5 times `preprocess.resize`
    (whether it then fits the budget or not, so that the budget does not change the result).
    `times` sums the seconds of each part of the work.
    Raises EmptyInput for a dataset without samples, BadData for a balanced order over unlabelled ones.
    """

    def __init__(
        self, dataset: Dataset, preprocess: Preprocess, plan: LoadPlan, times: LoadTimes | None = None
    ) -> None:
        if not dataset.samples:
            raise EmptyInput(dataset.path or "dataset", "there are no images to load")
        if plan.order == "balanced":
            dataset.labels()  # raises for the first unlabelled one
        self._dataset, self._preprocess, self._plan = dataset, preprocess, plan
        self._labels = np.array([-1 if s.label is None else s.label for s in dataset.samples], dtype=np.int64)
        self.memory = PixelCache(plan.memory_bytes)
        self.times = times or LoadTimes()

    @property
    def steps(self) -> int:
        """Return batches per epoch on this rank.

        The same on every rank for "shuffled" and "balanced"; for "sequential" nothing is repeated, so ranks may differ
        by one image and therefore by one batch.
        """
        plan = self._plan
        # Of the slice [rank::world], without drawing it.
        length = len(range(plan.rank, _padded(len(self._labels), plan), plan.world))
        return length // plan.batch_size if plan.drop_last else math.ceil(length / plan.batch_size)

    def epoch(self, number: int, start: int = 0) -> Generator[LoadedBatch, None, None]:
        """Return the batches of epoch `number`, from batch `start` on (earlier ones are skipped without being read).

        An image that cannot be read ends the iteration with BadImage or BadData that names the sample. Closing the
        iterator, or dropping it, stops the threads.
        """
        draws, size = self._draws(number), self._plan.batch_size
        parts = [draws[size * step : size * (step + 1)] for step in range(start, self.steps)]
        return self._unthreaded(parts, number) if self._plan.workers == 0 else self._threaded(parts, number)

    def order(self, number: int) -> Indices:
        """Return indices into the samples in the order in which epoch `number` shows them on this rank; reads none."""
        return self._draws(number)[: self.steps * self._plan.batch_size, 0].copy()

    def _draws(self, number: int) -> Indices:
        """Return (M, 2): index into the samples and number of the view, which seeds the augmentation, of each draw."""
        plan = self._plan
        order = epoch_order(self._labels, plan.order, seed=plan.seed, epoch=number)
        order = np.resize(order, _padded(len(order), plan))  # pads by starting again at the front
        # An image drawn twice in an epoch must not show the same view twice: the k-th repeat counts on by k * N.
        views = order + occurrence(order) * len(self._labels)
        return np.stack((order, views), axis=1)[plan.rank :: plan.world]

    def _unthreaded(self, parts: Sequence[Indices], number: int) -> Generator[LoadedBatch, None, None]:
        for part in parts:
            batch = self._blank(part[:, 0])
            self._fill(batch, part[:, 1], number, 0, 1)
            yield batch

    def _threaded(self, parts: Sequence[Indices], number: int) -> Generator[LoadedBatch, None, None]:
        plan = self._plan
        # Small batches: enough of them that every worker has two tasks.
        ahead = max(_AHEAD, math.ceil(2 * plan.workers / plan.batch_size))
        pending: deque[tuple[LoadedBatch, list[Future[None]]]] = deque()
        pool = ThreadPoolExecutor(plan.workers, thread_name_prefix="clearsight-loader")
        try:
            for part in parts:
                batch, views = self._blank(part[:, 0]), part[:, 1]
                # Two tasks per worker even out images of different cost, and cost less than one task per image.
                stride = min(len(batch), 2 * plan.workers)
                tasks = [pool.submit(self._fill, batch, views, number, first, stride) for first in range(stride)]
                pending.append((batch, tasks))
                if len(pending) > ahead:
                    yield _finished(*pending.popleft())  # in order, whichever is ready first
            while pending:
                yield _finished(*pending.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # no thread may outlive the source it reads

    def _blank(self, indices: Indices) -> LoadedBatch:
        side, samples = self._preprocess.size, self._dataset.samples
        return LoadedBatch(
            # Tasks write their rows in place: no list of images to stack, no second copy.
            images=np.empty((len(indices), side, side, 3), dtype=np.uint8),
            labels=self._labels[indices],
            ids=tuple(samples[i].id for i in indices),
            indices=indices.copy(),
        )

    def _fill(self, batch: LoadedBatch, views: Indices, number: int, first: int, stride: int) -> None:
        for row in range(first, len(batch), stride):
            sample = self._dataset.samples[batch.indices[row]]
            try:
                pixels = self._show(sample, int(views[row]), number)
                with self.times.part("collate"):
                    batch.images[row] = pixels
                self.times.add("images", 1)
            except ClearsightError as error:
                if sample.id in str(error):  # sources name the locator, which may differ from the id
                    raise
                raise BadData(sample.id, error.problem, fix=error.fix) from error
            except OSError as error:
                raise BadData(sample.id, f"it cannot be read ({error})") from error
            except BaseException as error:  # a defect, perhaps of a plug-in: raised unchanged, with the name
                error.add_note(f"while loading the image {sample.id!r}")
                raise

    def _show(self, sample: Sample, view: int, number: int) -> Pixels:
        plan = self._plan
        pixels = self.memory.get(sample.id, partial(self._decoded, sample))
        if not plan.augment.random:
            return pixels
        with self.times.part("augment"):
            return augment(pixels, plan.augment, self._preprocess, view_rng(plan.seed, number, view))

    def _decoded(self, sample: Sample) -> Pixels:
        """Return the image in the size that is kept between epochs."""
        plan, preprocess = self._plan, self._preprocess
        with self.times.part("read"):
            raw = self._dataset.source.read(sample.locator)
            self._check_unchanged(sample, raw)
        self.times.add("bytes", raw.nbytes if isinstance(raw, np.ndarray) else len(raw))
        with self.times.part("decode"):
            pixels = decode(raw, max_pixels=plan.max_pixels, name=sample.id, value_range=preprocess.value_range)
            if not plan.augment.random:
                return crop(pixels, preprocess)  # final, and smaller than the image
            return shrink(pixels, round(_SPARE * preprocess.resize), preprocess.interpolation)

    def _check_unchanged(self, sample: Sample, raw: bytes | Pixels) -> None:
        """Note an image whose content is no longer that of the scan; the first one is said at once."""
        changed = self._dataset.changed
        if sample.digest and sample.id not in changed and digest(raw) != sample.digest:
            if not changed:
                log.warning("note: the image %s has changed since the images were checked.", sample.id)
            changed.add(sample.id)


def _finished(batch: LoadedBatch, tasks: Sequence[Future[None]]) -> LoadedBatch:
    for task in tasks:
        task.result()
    return batch


def _padded(length: int, plan: LoadPlan) -> int:
    return length if plan.order == "sequential" else math.ceil(length / plan.world) * plan.world


def epoch_order(labels: Indices, order: Order, *, seed: int, epoch: int) -> Indices:
    """Return (N,) indices into (N,) `labels` in the order in which an epoch shows them, over all ranks."""
    rng = np.random.default_rng(np.random.SeedSequence((_ORDER_STREAM, seed, epoch)))
    if order == "sequential":
        return np.arange(len(labels), dtype=np.int64)
    if order == "shuffled":
        return rng.permutation(len(labels)).astype(np.int64)
    return _balanced(labels, rng)


def _balanced(labels: Indices, rng: np.random.Generator) -> Indices:
    """N draws, every class that occurs equally often (give or take one), and every image of a class too."""
    classes = rng.permutation(np.unique(labels))  # shuffled: which classes get one more differs by epoch
    quotas = np.full(len(classes), len(labels) // len(classes))
    quotas[: len(labels) % len(classes)] += 1
    draws = [
        np.resize(rng.permutation(np.flatnonzero(labels == label)), quota)
        for label, quota in zip(classes, quotas, strict=True)
    ]
    return rng.permutation(np.concatenate(draws)).astype(np.int64)


def occurrence(order: Indices) -> Indices:
    """Return (M,) how often each entry of `order` has come before: [7, 3, 7, 7] gives [0, 0, 1, 2]."""
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(ordered)])
    rank = np.empty(len(order), dtype=np.int64)
    rank[by_value] = np.arange(len(order)) - np.repeat(starts, lengths)
    return rank
