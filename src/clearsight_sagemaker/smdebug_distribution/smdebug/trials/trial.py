"""Trial: a training that was recorded, or is being recorded, read from its files."""

from __future__ import annotations

import bisect
import time
from contextlib import contextmanager
from typing import Any, Iterable, Iterator, Sequence

import numpy as np

from smdebug.core import environment, layout
from smdebug.core.collection import Collection, CollectionKeys
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.file_store import FileStore, open_files
from smdebug.core.logger import get_logger
from smdebug.core.modes import ModeKeys
from smdebug.core.reductions import REDUCTIONS_PREFIX, reverse_reduction_tensor_name
from smdebug.core.tensor import StepState, Tensor, TensorLocation
from smdebug.exceptions import MissingCollectionFiles, NoMoreData, SMDebugValueError, StepUnavailable, TensorUnavailable
from smdebug.trials.index_reader import POLL_SECONDS, IndexReader, TensorEntry
from smdebug.trials.trial_steps import TrialSteps

_POLLS_BEFORE_WARNING = 10


class Trial:
    """Tensors, steps and collections of a training. Every question reads first what is new.

    range_steps: (begin, end) of global steps that are read.  check: verify checksums.  cache: keep fetched values in
    memory.  index_mode is accepted: trials are always read by their index.
    """

    def __init__(
        self,
        name: str,
        path: str,
        range_steps: tuple[int | None, int | None] | None = None,
        check: bool = False,
        index_mode: bool = True,
        cache: bool = False,
    ) -> None:
        begin, end = range_steps or (None, None)
        if begin is not None and end is not None and end <= begin:
            raise SMDebugValueError(f"range_steps={range_steps}: must be (begin, end) with begin below end.")
        self.name, self.path = name, path
        self.logger = get_logger()
        self.cache = cache
        self.loaded_all_steps = False
        self.dynamic_refresh = True  # rules switch it off: all they see must be of one moment
        self.worker_set: set[str] = set()
        self.files: FileStore = open_files(path)
        self.collection_manager = self._wait_for_collections()
        self.table = TrialSteps(self.collection_manager.get_num_workers())
        self.index_reader = IndexReader(self.files, range_steps, check)
        self._tensors: dict[str, Tensor] = {}
        self.logger.info(f"Loading trial {name} at path {path}")
        self.refresh_data()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trial) and (self.name, self.path) == (other.name, other.path)

    def __hash__(self) -> int:
        return hash((self.name, self.path))

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}(name={self.name}, path={self.path}, steps={self.steps()}, "
            f"collections={list(self.collections())}, tensor_names={self.tensor_names()})>"
        )

    # Reading

    @property
    def num_workers(self) -> int:
        return self.collection_manager.get_num_workers()

    @property
    def last_complete_step(self) -> int:
        return self.table.last_complete

    @property
    def training_ended(self) -> bool:
        """True once the mark of the end is there."""
        return self.files.exists(layout.END_OF_TRAINING)

    def maybe_refresh(self, name: str | None = None) -> None:
        """Read what is new, unless everything has been read; after the end of training once more, for late files."""
        if self.loaded_all_steps or not self.dynamic_refresh:
            return
        ended = self.training_ended
        self.refresh_data()
        if ended:
            delay = environment.seconds_before_last_refresh()
            self.logger.info(f"Training has ended, will refresh one final time in {delay:g} sec.")
            time.sleep(delay)
            self.refresh_data()
            self.loaded_all_steps = True
            self.table.finish()

    def refresh_data(self) -> None:
        """Read the index files that are new."""
        for entry in self.index_reader.new_entries(self.table.last_complete):
            self._add(entry)

    def fetch(self, location: TensorLocation) -> np.ndarray | None:
        """Return the value of a record; None where training ended without its file."""
        return self.index_reader.fetch(location)

    # Tensors

    def tensor(self, tname: str) -> Tensor:
        """Return a tensor by name. Raises TensorUnavailable."""
        if not self.has_tensor(tname):
            raise TensorUnavailable(tname)
        return self._tensors[tname]

    def has_tensor(self, tname: str) -> bool:
        """Return True for a tensor that some step has."""
        if tname not in self._tensors:
            self.maybe_refresh(tname)
        return tname in self._tensors

    def tensor_names(
        self,
        show_prefixed_tensors: bool = False,
        *,
        step: int | None = None,
        mode: ModeKeys = ModeKeys.GLOBAL,
        regex: str | Sequence[str] | None = None,
        collection: str | Collection | None = None,
    ) -> list[str]:
        """Return the names of tensors, sorted.

        step: those of a step of `mode`.  regex: those in which a pattern matches anywhere.  collection: its tensors.
        Raises ValueError for both of the latter.
        """
        if regex is not None and collection is not None:
            raise ValueError("tensor_names: regex and collection cannot be used together. Keep one.")
        self.maybe_refresh()
        found = self.table.tensor_names(step, mode)
        names = set(self._tensors) if found is None else found
        if regex is not None:
            patterns = Collection("", include_regex=[regex] if isinstance(regex, str) else list(regex))
            names = {name for name in names if patterns.matches(name)}
        if collection is not None:
            group = self.collection(collection.name if isinstance(collection, Collection) else collection)
            names = {name for name in names if group.has_tensor_name(name) or group.matches(name)}
        if not names and (regex is not None or collection is not None):
            self.logger.warning(f"No tensors of {collection or regex} were saved")
        return sorted(names)

    def inputs(self, step: int, mode: ModeKeys = ModeKeys.GLOBAL) -> list[np.ndarray]:
        """Return the values of the collection `inputs` at a step."""
        return self._values(step, mode, self.tensor_names(step=step, mode=mode, collection=CollectionKeys.INPUTS))

    def labels(self, step: int, mode: ModeKeys = ModeKeys.GLOBAL) -> list[np.ndarray]:
        """Return the values of tensors named `labels` at a step."""
        return self._values(step, mode, self.tensor_names(step=step, mode=mode, regex="labels*"))

    def predictions(self, step: int, mode: ModeKeys = ModeKeys.GLOBAL) -> list[np.ndarray]:
        """Return the values of tensors named `predictions` at a step."""
        return self._values(step, mode, self.tensor_names(step=step, mode=mode, regex="predictions*"))

    # Steps

    def steps(self, mode: ModeKeys = ModeKeys.GLOBAL, show_incomplete_steps: bool = False) -> list[int]:
        """Return the steps of a mode, sorted; without those that some worker has still to write."""
        self.maybe_refresh()
        return [
            step
            for step in self.table.steps(mode)
            if show_incomplete_steps or self.is_complete(self.table.global_step(mode, step) or 0)
        ]

    def is_complete(self, global_step: int) -> bool:
        return self.loaded_all_steps or self.table.is_complete(global_step)

    def modes(self) -> list[ModeKeys]:
        """Return the modes that steps were saved in, without GLOBAL."""
        return self.table.modes()

    def global_step(self, mode: ModeKeys, mode_step: int) -> int | None:
        """Return the global step of a step of a mode; None for an unknown one."""
        if self.table.global_step(mode, mode_step) is None:
            self.maybe_refresh()
        return self.table.global_step(mode, mode_step)

    def mode_modestep(self, global_step: int) -> tuple[ModeKeys | None, int | None]:
        """Return mode and step in it, of a global step; (None, None) for an unknown one."""
        if self.table.mode_step(global_step)[0] is None:
            self.maybe_refresh()
        return self.table.mode_step(global_step)

    def mode_step(self, global_step: int) -> int | None:
        return self.mode_modestep(global_step)[1]

    def mode(self, global_step: int) -> ModeKeys | None:
        return self.mode_modestep(global_step)[0]

    def workers(self) -> list[str]:
        """Return the names of the workers that record, sorted."""
        self.maybe_refresh()
        return sorted(self.worker_set)

    def has_passed_step(self, step: int, mode: ModeKeys = ModeKeys.GLOBAL) -> StepState:
        """Return whether a step is there, is still to come, or never comes."""
        self.maybe_refresh()
        steps = self.table.steps(mode)
        place = bisect.bisect_left(steps, step)
        if place == len(steps):
            return StepState.UNAVAILABLE if self.loaded_all_steps else StepState.NOT_YET_AVAILABLE
        is_complete = self.is_complete(self.table.global_step(mode, steps[place]) or 0)
        if not is_complete:
            return StepState.NOT_YET_AVAILABLE
        return StepState.AVAILABLE if steps[place] == step else StepState.UNAVAILABLE

    def wait_for_steps(self, required_steps: Iterable[int], mode: ModeKeys = ModeKeys.GLOBAL) -> None:
        """Wait until the steps are there. Raises StepUnavailable, and NoMoreData after the end of training."""
        with refreshing([self], True):
            for step in required_steps:
                while (state := self.has_passed_step(step, mode)) is not StepState.AVAILABLE:
                    if state is StepState.UNAVAILABLE:
                        last_step = max(self.table.steps(mode), default=-1)
                        if self.loaded_all_steps and step >= last_step:
                            raise NoMoreData(step, mode, last_step)
                        raise StepUnavailable(step, mode)
                    time.sleep(POLL_SECONDS)

    # Collections

    def collections(self) -> dict[str, Collection]:
        return self.collection_manager.get_collections()

    def collection(self, coll_name: str) -> Collection:
        return self.collection_manager.get(coll_name)

    def _values(self, step: int, mode: ModeKeys, names: list[str]) -> list[np.ndarray]:
        def number(name: str) -> int:
            last = name.rpartition("_")[2]
            return int(last) if last.isdigit() else 0

        return [self.tensor(name).value(step, mode) for name in sorted(names, key=number)]

    def _add(self, entry: TensorEntry) -> None:
        name = entry.name
        if name.startswith(REDUCTIONS_PREFIX):
            name, reduction, is_abs = reverse_reduction_tensor_name(name)
        if entry.mode_step < 0:
            raise SMDebugValueError(f"{name}: step {entry.mode_step} of mode {entry.mode.name} must be 0 or more.")
        if name not in self._tensors:
            self._tensors[name] = Tensor(name, self)
        saved = self._tensors[name].entry(entry.mode, entry.mode_step, entry.worker)
        if name != entry.name and entry.location is not None:
            saved.reductions[reduction, is_abs] = entry.location
        elif entry.location is not None:
            saved.location = entry.location
        if entry.shape is not None:
            saved.shape = entry.shape
        self.table.add(entry.step, entry.mode, entry.mode_step, entry.worker, name)

    def _wait_for_collections(self) -> CollectionManager:
        """Return the collections, once every worker has listed them. Raises MissingCollectionFiles."""
        polls = 0
        while True:
            ended = self.training_ended
            files = {layout.parse_collections_file(name): name for name in self.files.names(layout.COLLECTIONS_FOLDER)}
            files.pop(None, None)
            if files:
                first = self.files.read(files[min(files, key=str)])
                manager = CollectionManager.load_from_string(first.decode())
                self.worker_set = {str(worker) for worker in files}
                if len(files) >= manager.get_num_workers():
                    return manager
            if ended:
                raise MissingCollectionFiles
            polls += 1
            if polls > _POLLS_BEFORE_WARNING:
                self.logger.warning(f"{self.path}: no collections yet. Is it the folder of the tensors?")
            time.sleep(POLL_SECONDS)


class LocalTrial(Trial):
    """A trial in a folder."""


class S3Trial(Trial):
    """A trial in S3."""


@contextmanager
def refreshing(trials: Sequence[Any], enabled: bool) -> Iterator[None]:
    """Let trials read what is new, or not, inside of a `with` block."""
    before = [trial.dynamic_refresh for trial in trials]
    for trial in trials:
        trial.dynamic_refresh = enabled
    try:
        yield
    finally:
        for trial, value in zip(trials, before):
            trial.dynamic_refresh = value
