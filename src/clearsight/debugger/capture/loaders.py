"""LoaderTracker: the DataLoader that the batch under way came from, and the split that it stands for."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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


@dataclass(eq=False)
class BatchSource:
    """Source of batches: a DataLoader, or whatever a loop uses without one.

    role: "train" once a backward followed a batch; "eval" where none followed although gradients were on; "" before.
    trains_in_eval: True if a backward followed the last batch that met the model in evaluation mode with gradients on.
    length: batches of an epoch, 0 for not known.  same_data: True if it reads the very dataset that is trained on.
    dataset: that of the loader, None where it cannot be referred to weakly.  comparison: of its batches with what the
    model gets.
    """

    role: Role = ""
    trains_in_eval: bool = False
    length: int = 0
    is_loader: bool = False
    same_data: bool = False
    dataset: weakref.ref[Any] | None = None
    comparison: BatchComparison = field(default_factory=BatchComparison)

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

    def used(self, *, training: bool, backward: bool) -> None:
        """Learn from a pass with gradients on, once it is known whether a backward followed."""
        if backward and self.is_loader:
            # Also in evaluation mode after a pass in train mode: what was trained once is the training split.
            self.role, self.trains_in_eval = "train", True
        elif backward:
            # Without a loader the next batch may be of any split: only the mode tells them apart.
            self.trains_in_eval |= not training
        elif training and self.is_loader and not self.role:
            self.role = "eval"
        elif not training:
            self.trains_in_eval = False


class LoaderTracker:
    """Follows the DataLoaders of this process from `attach` to `remove`.

    current: source of the batch drawn last; one without a loader where no loader was iterated.
    held_out: batches of other loaders than the one that is trained on.  highest_label: drawn so far, -1 before.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard, self.current = guard, BatchSource()
        self.held_out, self.highest_label = 0, -1
        self._batch: DrawnBatch | None = None  # drawn last
        self._sources: weakref.WeakKeyDictionary[Any, BatchSource] = weakref.WeakKeyDictionary()  # by loader
        # By iterator: a loader that a `for` statement makes is gone before its first batch.
        self._iterators: weakref.WeakKeyDictionary[Any, BatchSource] = weakref.WeakKeyDictionary()
        self._trained: BatchSource | None = None  # the loader that was trained on last
        self._first: weakref.ref[Any] | None = None  # dataset that was trained on first
        self._begun = 0  # epochs of the training loader
        self._drawn = 0  # batches of its epoch under way
        self._hooks = HookGroup()

    def attach(self) -> None:
        """Follow from now on."""
        self._hooks.attach(_ITERATIONS.register, self._on_iteration)
        self._hooks.attach(_BATCHES.register, self._on_batch)

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

    @guarded
    def _on_iteration(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], iterator: Any) -> None:
        if not isinstance(iterator, _BaseDataLoaderIter):
            return
        loader = args[0]
        if loader not in self._sources:
            self._sources[loader] = self._source(loader)
        source = self._iterators[iterator] = self._sources[loader]
        if source is self._trained:
            # `next(iter(loader))` in every step begins no epoch.
            if self._drawn > 1 or source.length == 1:
                self._begun, self._drawn = self._begun + 1, 0
        elif source.role == "train":
            self._begun, self._drawn, self._trained = self._begun + 1, 0, source

    @guarded
    def _on_batch(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: Any) -> None:
        source = self._iterators.get(args[0])
        if source is None or isinstance(batch, Exception):
            return
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

    def mixture(self) -> tuple[float, Tensor] | None:
        """Return the share of its own that each image of the batch has, and the labels drawn; None where none is mixed.

        Of the batch that `labels` was asked about last.
        """
        share = self.current.comparison.share if self.current.is_loader else None
        return (share, self._batch.labels) if share is not None and self._batch is not None else None

    def trained(self, source: BatchSource) -> None:
        """Note that a backward followed a batch of `source`."""
        self._first = self._first or (source.dataset if source.is_loader else None)
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
