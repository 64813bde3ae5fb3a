"""LoaderTracker: the DataLoader that the batch under way came from, the split that it stands for, and its use."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import index
from typing import Any, Literal

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from clearsight.core.guard import Guard, guarded
from clearsight.core.tensors import Mode
from clearsight.debugger.capture.batch_labels import BatchComparison, DrawnBatch
from clearsight.debugger.capture.safe_hook import HookGroup
from clearsight.debugger.capture.shared_patch import SharedPatch

Role = Literal["", "train", "eval"]

# Of the classes, not of single loaders: loops make new loaders in every epoch.
_ITERATIONS = SharedPatch(DataLoader, "__iter__")
_BATCHES = SharedPatch(_BaseDataLoaderIter, "__next__")
_INDICES = SharedPatch(_BaseDataLoaderIter, "_next_index")  # of one process and of worker processes

_EPOCHS = 2  # of a loader whose indices are counted: a sampler draws alike in each
_BROKEN_OFF = 0.25  # share of its batches below which a loader was not meant to be read to its end
_LARGEST = 1 << 24  # images of a dataset whose indices are counted, a byte each: 16 MB


@dataclass(eq=False)
class BatchSource:
    """Source of batches: a DataLoader, or whatever a loop uses without one.

    role: "train" once a backward followed a batch; "eval" where none followed although gradients were on; "" before.
    trains_in_eval: True if a backward followed the last batch that met the model in evaluation mode with gradients on.
    length: batches of an epoch, 0 for not known.  same_data: True if it reads the very dataset that is trained on.
    dataset: that of the loader, None where it cannot be referred to weakly.  comparison: of its batches with what the
    model gets.
    epochs: indices that its sampler drew, of the first epochs.  skipped: batches without a backward, before one came.
    unsure: numbers of the passes in train mode that had none until then.  iterations: over it.
    """

    role: Role = ""
    trains_in_eval: bool = False
    length: int = 0
    is_loader: bool = False
    same_data: bool = False
    dataset: weakref.ref[Any] | None = None
    comparison: BatchComparison = field(default_factory=BatchComparison)
    epochs: list[DrawnIndices] = field(default_factory=list)
    skipped: int = 0
    unsure: set[int] = field(default_factory=set)
    iterations: Iterations = field(default_factory=lambda: Iterations())

    def mode(self, *, training: bool, gradients: bool) -> Mode:
        """Return the mode of a forward pass of a batch. training: mode of the model.  gradients: True if they are on.

        A pass without gradients trains nothing, whatever the mode of the model. One of training images in train mode
        measures the statistics of BatchNorm anew: it is no evaluation either.
        """
        if not gradients:
            return "predict" if training and self.role == "train" else "eval"
        if training:
            return "eval" if self.role == "eval" else "train"
        return "train" if self.trains_in_eval else "eval"

    def used(self, *, training: bool, backward: bool, trains: bool = True) -> None:
        """Learn from a pass with gradients on, once it is known whether a backward followed.

        trains: False if nothing was trained so far. Then a loader without a backward may be that of a training whose
        backward never comes.
        """
        if backward and self.is_loader:
            # Also in evaluation mode after a pass in train mode: what was trained once is the training split.
            self.role, self.trains_in_eval = "train", True
        elif backward:
            # Without a loader the next batch may be of any split: only the mode tells them apart.
            self.trains_in_eval |= not training
        elif training and trains and self.is_loader and not self.role:
            self.role = "eval"
        elif not training:
            self.trains_in_eval = False


class DrawnIndices:
    """Indices that a sampler drew from a dataset in one epoch. size: of the dataset.  draws: so far, 0 for unknown."""

    def __init__(self, size: int) -> None:
        self.size, self.draws = size, 0
        self._is_counted = 0 < size <= _LARGEST
        self._seen = np.zeros(0, bool)

    @classmethod
    def of(cls, dataset: Any) -> DrawnIndices:
        """Return those of a dataset, which are unknown where it has no length."""
        try:
            return cls(len(dataset))
        except (TypeError, NotImplementedError):
            return cls(0)

    @property
    def images(self) -> int:
        """Different indices among them."""
        return int(np.count_nonzero(self._seen))

    def add(self, indices: Any) -> None:
        """Count what the sampler returned for a batch. Keys that are no numbers end the counting."""
        if not self._is_counted:
            return
        if not len(self._seen):
            self._seen = np.zeros(self.size, bool)
        # Nothing else is iterated: what can be read only once belongs to the loader.
        is_list = isinstance(indices, (list, tuple, range, np.ndarray, Tensor))
        try:
            places = [index(value) for value in indices] if is_list else [index(indices)]
            self._seen[places] = True
            self.draws += len(places)
        except (TypeError, ValueError, IndexError, OverflowError):
            self._is_counted, self.draws = False, 0


@dataclass(eq=False)
class Iterations:
    """Iterations over a loader that have ended: how many, their batches, and how many of them were broken off.

    One that ends with another loader, which is read beside it, is whole.
    """

    ended: int = 0
    batches: int = 0
    broken_off: int = 0
    complete: int = 0  # number of the batch that was the last one of the loader, of all loaders
    _drawn: list[int] = field(default_factory=list)  # numbers of the batches of the iteration under way

    def draw(self, number: int, length: int) -> None:
        """Count a batch."""
        self._drawn.append(number)
        self.complete = number if len(self._drawn) == length else self.complete

    def begin(self, length: int, others: Iterable[Iterations]) -> None:
        """End the iteration under way and begin another one. others: iterations over all loaders."""
        if drawn := self._drawn:
            is_short = len(drawn) < _BROKEN_OFF * length
            self.broken_off += is_short and not any(drawn[0] <= other.complete <= drawn[-1] for other in others)
            self.ended, self.batches, self._drawn = self.ended + 1, self.batches + len(drawn), []


@dataclass(eq=False)
class BatchUse:
    """Use of a batch that met the model in train mode with gradients on. draw: number of the batch.

    followed: True once a backward or an optimizer step came.  counted: True once it was the turn of the next batch.
    """

    source: BatchSource
    draw: int
    followed: bool = False
    counted: bool = False


class BatchUses:
    """Counts batches that met the model in train mode with gradients on, by what followed.

    A batch may be run several times, for the images of a generator, say, and losses may be added up over batches: a
    single backward for one of its passes is enough, or a backward or step for anything else before the next batch.
    Without a loader each pass is a batch.

    trained, skipped: batches of loaders that are trained on, with and without a backward.  unfollowed: of all sources.
    """

    def __init__(self) -> None:
        self.trained = self.skipped = self.unfollowed = 0
        self._current: BatchUse | None = None

    def begin(self, source: BatchSource, draw: int) -> BatchUse:
        """Return the use of the batch that meets the model now. draw: number of the batch."""
        current = self._current
        if current is None or not source.is_loader or current.source is not source or current.draw != draw:
            self.end()
            current = self._current = BatchUse(source, draw)
        return current

    def end(self) -> None:
        """Count the batch under way, for which nothing more can come but a backward of a sum of losses."""
        use, self._current = self._current, None
        if use is None:
            return
        use.counted = True
        if use.followed:
            self.trained += use.source.is_loader
            return
        self.unfollowed += 1
        self._skip(use.source, 1)

    def follow(self, use: BatchUse | None = None) -> None:
        """Note a backward for a use, or a backward or step of anything for the batch under way."""
        use = use or self._current
        if use is None or use.followed:
            return
        use.followed = True
        if use.counted:
            self.unfollowed -= 1
            self.trained += use.source.is_loader
            self._skip(use.source, -1)

    def learn(self, source: BatchSource) -> None:
        """Count the batches that a source had before its first backward."""
        self.skipped += source.skipped
        source.skipped = 0

    def _skip(self, source: BatchSource, by: int) -> None:
        if source.role == "train":
            self.skipped += by
        elif source.is_loader:
            source.skipped += by


class LoaderTracker:
    """Follows the DataLoaders of this process from `attach` to `remove`.

    current: source of the batch drawn last; one without a loader where no loader was iterated.
    held_out: batches of other loaders than the one that is trained on.  highest_label: drawn so far, -1 before.
    draws: batches so far, of all loaders.  uses: of these.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard, self.current = guard, BatchSource()
        self.held_out, self.highest_label, self.draws = 0, -1, 0
        self.uses = BatchUses()
        self._batch: DrawnBatch | None = None  # drawn last
        self._sources: weakref.WeakKeyDictionary[Any, BatchSource] = weakref.WeakKeyDictionary()  # by loader
        # By iterator: a loader that a `for` statement makes is gone before its first batch.
        self._iterators: weakref.WeakKeyDictionary[Any, BatchSource] = weakref.WeakKeyDictionary()
        # By iterator: the stream of its sampler, another one after a reset, and what it drew, None for enough.
        self._streams: weakref.WeakKeyDictionary[Any, tuple[Any, DrawnIndices | None]] = weakref.WeakKeyDictionary()
        self._trained: BatchSource | None = None  # the loader that was trained on last
        self._first: weakref.ref[Any] | None = None  # dataset that was trained on first
        self._begun = 0  # epochs of the training loader
        self._drawn = 0  # batches of its epoch under way
        self._hooks = HookGroup()

    def attach(self) -> None:
        """Follow from now on."""
        self._hooks.attach(_ITERATIONS.register, self._on_iteration)
        self._hooks.attach(_BATCHES.register, self._on_batch)
        self._hooks.attach(_INDICES.register, self._on_index)

    def remove(self) -> None:
        """Follow no more; may be called twice."""
        self._hooks.remove()

    @property
    def epoch(self) -> int:
        """The epoch of the training loader, from 1; 0 where none is known."""
        return self._begun

    @property
    def is_held_out(self) -> bool:
        """True if the batch under way is of another loader than the one that is trained on."""
        return self._trained is not None and self.current.is_loader and self.current is not self._trained

    def is_other(self, source: BatchSource) -> bool:
        """Return True if a source reads another dataset than the one that was trained on first."""
        first = self._first() if self._first is not None else None
        current = source.dataset() if source.dataset is not None else None
        return first is not None and current is not None and current is not first

    @property
    def batches(self) -> int:
        """Batches of an epoch of the training loader; 0 where not known."""
        return self._trained.length if self._trained is not None else 0

    @property
    def iterations(self) -> Iterations:
        """Iterations over the training loader."""
        return self._trained.iterations if self._trained is not None else Iterations()

    def coverage(self) -> tuple[int, int, int]:
        """Return draws, different images and images of the dataset, of an epoch of the training; 0 where not known."""
        epochs = self._trained.epochs if self._trained is not None else []
        longest = max(epochs, key=lambda epoch: epoch.draws, default=None)
        return (longest.draws, longest.images, longest.size) if longest is not None and longest.draws else (0, 0, 0)

    @guarded
    def _on_iteration(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], iterator: Any) -> None:
        if not isinstance(iterator, _BaseDataLoaderIter):
            return
        loader = args[0]
        if loader not in self._sources:
            self._sources[loader] = self._source(loader)
        source = self._iterators[iterator] = self._sources[loader]
        source.iterations.begin(source.length, [other.iterations for other in self._sources.values()])
        stream, indices = self._stream(iterator)
        if indices is not None and indices not in source.epochs:
            is_due = len(source.epochs) < _EPOCHS
            source.epochs += [indices] if is_due else []
            self._streams[iterator] = (stream, indices if is_due else None)
        if source is self._trained:
            # `next(iter(loader))` in every step begins no epoch.
            if self._drawn > 1 or source.length == 1:
                self._begun, self._drawn = self._begun + 1, 0
        elif source.role == "train":
            self._begun, self._drawn, self._trained = self._begun + 1, 0, source

    @guarded
    def _on_index(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        # Worker processes get their first indices before the iterator is known.
        _, indices = self._stream(args[0])
        if indices is not None and not isinstance(result, Exception):
            indices.add(result)

    def _stream(self, iterator: Any) -> tuple[Any, DrawnIndices | None]:
        stream, known = getattr(iterator, "_sampler_iter", None), self._streams.get(iterator)
        if known is None or known[0] is not stream:
            known = self._streams[iterator] = (stream, DrawnIndices.of(getattr(iterator, "_dataset", None)))
        return known

    @guarded
    def _on_batch(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: Any) -> None:
        source = self._iterators.get(args[0])
        if source is None or isinstance(batch, Exception):
            return
        self.draws += 1
        source.iterations.draw(self.draws, source.length)
        self.current, self._batch = source, DrawnBatch.of(batch)
        labels = self._batch.labels if self._batch is not None else None
        if labels is not None and labels.device.type == "cpu" and labels.numel():
            self.highest_label = max(self.highest_label, int(labels.max()))
        if source is self._trained:
            self._drawn += 1
        elif self._trained is not None:
            self.held_out += 1

    def labels(self, inputs: Tensor | None) -> Tensor | None:
        """Return the labels of what the model gets, (N,) or (N, 1), if it is the batch drawn last; None if not known.

        inputs: (N, ...) of the model.
        """
        return self.current.comparison.labels(self._batch, inputs) if self.current.is_loader else None

    @property
    def held_out_images(self) -> Tensor | None:
        """Images of the batch under way of a held-out loader, (N, ...), as a model without hooks gets them.

        None where the loop changes the batches that it trains on: it may change these too.
        """
        trusted = self._trained is not None and self._trained.comparison.same
        return self._batch.images if trusted and self.is_held_out and self._batch is not None else None

    def mixture(self) -> tuple[float, Tensor] | None:
        """Return the share of its own that each image of the batch has, and the labels drawn; None where none is mixed.

        Of the batch that `labels` was asked about last.
        """
        share = self.current.comparison.share if self.current.is_loader else None
        return (share, self._batch.labels) if share is not None and self._batch is not None else None

    def trained(self, source: BatchSource) -> None:
        """Note that a backward followed a batch of `source`."""
        self._first = self._first or (source.dataset if source.is_loader else None)
        self.uses.learn(source)
        if source is self.current and source.is_loader and source is not self._trained:
            self._begun, self._drawn, self._trained = self._begun + 1, 1, source

    def _source(self, loader: Any) -> BatchSource:
        trained = self._trained
        dataset = trained.dataset() if trained is not None and trained.dataset is not None else None
        same = dataset is not None and loader.dataset is dataset
        # A loop may make its training loader anew in each epoch: the old one is gone then.
        is_successor = same and not any(trained is source for source in self._sources.values())
        return BatchSource(
            role="train" if is_successor else "",
            trains_in_eval=is_successor,
            length=_length(loader),
            is_loader=True,
            same_data=same,
            dataset=_reference(loader.dataset),
            iterations=trained.iterations if is_successor and trained is not None else Iterations(),
        )


def _length(loader: Any) -> int:
    """Return the batches of an epoch; 0 where the dataset has no length."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):  # an IterableDataset without a length
        return 0


def _reference(dataset: Any) -> weakref.ref[Any] | None:
    try:
        return weakref.ref(dataset)
    except TypeError:  # a list or a tuple as dataset
        return None
