"""LoaderTracker: the DataLoader that the batch under way came from, and the split that it stands for."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from clearsight.core.guard import Guard, guarded
from clearsight.core.tensors import Mode
from clearsight.debugger.capture.safe_hook import HookGroup
from clearsight.debugger.capture.shared_patch import SharedPatch

Role = Literal["", "train", "eval"]

# Of the classes, not of single loaders: loops make new loaders in every epoch.
_ITERATIONS = SharedPatch(DataLoader, "__iter__")
_BATCHES = SharedPatch(_BaseDataLoaderIter, "__next__")


@dataclass(eq=False)
class BatchSource:
    """Where batches come from: a DataLoader, or whatever a loop uses without one.

    role: "train" once a backward followed a batch; "eval" where none followed although gradients were on; "" before.
    trains_in_eval: True if a backward followed the last batch that met the model in evaluation mode with gradients on.
    length: batches of an epoch, 0 for not known.  same_data: True if it reads the very dataset that is trained on.
    """

    role: Role = ""
    trains_in_eval: bool = False
    length: int = 0
    is_loader: bool = False
    same_data: bool = False

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
    """

    def __init__(self, guard: Guard) -> None:
        self.guard, self.current = guard, BatchSource()
        self._sources: weakref.WeakKeyDictionary[Any, BatchSource] = weakref.WeakKeyDictionary()
        self._iterators: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
        self._trained: weakref.ref[Any] | None = None  # the loader that was trained on last
        self._dataset: weakref.ref[Any] | None = None  # its dataset
        self._last: weakref.ref[Any] | None = None  # the loader of the batch drawn last
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
    def batches(self) -> int:
        """Batches of an epoch of the training loader; 0 where not known."""
        loader = self._trained() if self._trained is not None else None
        source = self._sources.get(loader) if loader is not None else None
        return source.length if source is not None else 0

    @guarded
    def _on_iteration(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], iterator: Any) -> None:
        if not isinstance(iterator, _BaseDataLoaderIter):
            return
        loader = args[0]
        if loader not in self._sources:
            self._sources[loader] = self._source(loader)
        self._iterators[iterator] = weakref.ref(loader)
        if loader is self._trained_loader():
            # `next(iter(loader))` in every step begins no epoch.
            if self._drawn > 1 or self._sources[loader].length == 1:
                self._begun, self._drawn = self._begun + 1, 0
        elif self._sources[loader].role == "train":
            self._begun, self._drawn, self._trained = self._begun + 1, 0, weakref.ref(loader)

    @guarded
    def _on_batch(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: Any) -> None:
        reference = self._iterators.get(args[0])
        loader = reference() if reference is not None else None
        if loader is None or isinstance(batch, Exception):
            return
        self.current = self._sources[loader]
        if loader is self._trained_loader():
            self._drawn += 1
        self._last = weakref.ref(loader)

    def trained(self, source: BatchSource) -> None:
        """Note that a backward followed a batch of `source`."""
        loader, trained = self._last() if self._last is not None else None, self._trained_loader()
        if loader is not None and loader is not trained and source is self._sources[loader]:
            self._trained, self._dataset = weakref.ref(loader), _reference(loader.dataset)
            self._begun, self._drawn = self._begun + 1, 1

    def _trained_loader(self) -> Any:
        return self._trained() if self._trained is not None else None

    def _source(self, loader: Any) -> BatchSource:
        dataset = self._dataset() if self._dataset is not None else None
        same = dataset is not None and loader.dataset is dataset
        # A loop may make its training loader anew in each epoch: the old one is gone then.
        is_successor = same and self._trained_loader() is None
        role: Role = "train" if is_successor else ""
        return BatchSource(
            role=role, trains_in_eval=is_successor, length=_length(loader), is_loader=True, same_data=same
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
