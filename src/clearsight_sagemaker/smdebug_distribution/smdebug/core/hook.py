"""BaseHook: schedule, steps, staged values and files of a hook; it knows no framework.

When values reach the disk (as in smdebug 1.0.34):
- tensors of modules when they are computed, at the steps of their collections;
- `save_tensor` only stages its value: the next tensor hook of a saved step writes it, under that later step, and a
  gradient hook outside of a saved step discards it;
- `save_scalar` waits until a saved step ends, or the hook closes; of several values of one name the last remains.
With CLEARSIGHT_SMDEBUG=lossless both write at once, at the newest step. `SavedSteps` counts what is lost.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import time
from dataclasses import dataclass
from typing import Any, Callable, Sequence, TypeVar

import numpy as np

from smdebug.core import environment, layout
from smdebug.core.collection import Collection, CollectionKeys
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.collection_schedule import CollectionSchedule
from smdebug.core.logger import get_logger
from smdebug.core.modes import ModeKeys
from smdebug.core.reduction_config import ReductionConfig
from smdebug.core.reductions import get_reduction_tensor_name
from smdebug.core.resumed_state import ResumedState
from smdebug.core.save_config import SaveConfig
from smdebug.core.saved_steps import SavedSteps
from smdebug.core.step_counter import ModeStepCounter
from smdebug.core.step_output import StepOutput
from smdebug.exceptions import SMDebugError, SMDebugRuntimeError, SMDebugTypeError

SCALAR_PREFIX = "scalar/"

# What recording can raise: errors of smdebug, of the disk, and of torch and numpy for unusual tensors.
RECORDING_ERRORS = (SMDebugError, AssertionError, OSError, RuntimeError, TypeError, ValueError)

Method = TypeVar("Method", bound=Callable[..., Any])


def disables_on_error(method: Method) -> Method:
    """Wrap a method of a hook, so that its error ends the recording where nobody has configured the hook.

    With a configuration of the user's (a collection beside `losses`) the error is raised into the training, as smdebug
    does it: who asks for tensors must learn that there are none.
    """

    @functools.wraps(method)
    def call(hook: BaseHook, *args: Any, **kwargs: Any) -> Any:
        if hook.disabled:
            return None
        try:
            return method(hook, *args, **kwargs)
        except RECORDING_ERRORS:
            if not hook.has_default_configuration():
                raise
            get_logger().exception("smdebug failed and records nothing for the rest of the training:")
            hook.disabled = True
            return None

    return call  # type: ignore[return-value]


@dataclass(frozen=True)
class CachedScalar:
    """A value of `save_scalar` that waits for its file."""

    name: str
    value: np.ndarray
    timestamp: float


@dataclass(frozen=True)
class OutputOptions:
    """Output of a hook. out_dir: folder or s3:// path. include_workers: "one" or "all"."""

    out_dir: str
    export_tensorboard: bool = False
    tensorboard_dir: str | None = None
    dry_run: bool = False
    include_workers: str = "one"

    def open(self) -> StepOutput:
        folder = self.tensorboard_dir
        if folder is None and self.export_tensorboard:
            folder = os.path.join(self.out_dir, "tensorboard")
        return StepOutput(self.out_dir, folder, all_workers=self.include_workers == "all", dry_run=self.dry_run)


class BaseHook:
    """Records tensors by name at the steps of their collections. Subclasses feed it from a framework.

    Raises SMDebugRuntimeError where `out_dir` holds a finished training.
    """

    # True once nothing is recorded any more. Also for copies of a hook that come along with a copied or loaded model:
    # they have no state.
    disabled = True

    def __init__(self, options: OutputOptions, schedule: CollectionSchedule) -> None:
        self.out_dir = options.out_dir
        self.schedule = schedule
        self.output = options.open()
        self.counter = ModeStepCounter()
        self.saved_steps = SavedSteps()
        self.last_saved_step: int | None = None
        self._lossless = "lossless" in environment.choices()
        self._state = ResumedState()
        self._staged: dict[str, tuple[Any, str]] = {}
        self._scalars: list[CachedScalar] = []
        self._exported = self._closed = False
        self.disabled = False
        self.last_saved_step = self._state.restore(self.counter)
        get_logger().info(f"Saving to {self.out_dir}")
        atexit.register(self.close)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # models are copied and saved with their hooks: files and counters must not come along

    def __repr__(self) -> str:
        if self.disabled:
            return f"<{type(self).__name__} that records nothing>"
        return (
            f"<{type(self).__name__}(out_dir={self.out_dir}, step={self.step}, mode={self.mode}, "
            f"mode_steps={self.mode_steps}, include_collections={self.include_collections})>"
        )

    # What scripts read

    @property
    def step(self) -> int:
        """Forward passes so far, from 0; -1 before the first."""
        return self.counter.step

    @property
    def mode(self) -> ModeKeys:
        return self.counter.mode

    @property
    def mode_steps(self) -> dict[ModeKeys, int]:
        return self.counter.mode_steps

    @property
    def save_config(self) -> SaveConfig:
        return self.schedule.save_config

    @property
    def reduction_config(self) -> ReductionConfig:
        return self.schedule.reduction_config

    @property
    def include_collections(self) -> list[str]:
        return self.schedule.included

    @property
    def collection_manager(self) -> CollectionManager:
        return self.schedule.collections

    @property
    def prepared_collections(self) -> bool:
        return self.schedule.prepared

    @property
    def worker(self) -> str:
        return self.output.worker

    @property
    def tensorboard_dir(self) -> str | None:
        return self.output.tensorboard_dir

    def get_collection(self, name: str, create: bool = True) -> Collection:
        """Return a collection by name; an unknown name creates it."""
        return self.collection_manager.get(name, create=create)

    def get_collections(self) -> dict[str, Collection]:
        return self.collection_manager.get_collections()

    def add_collection(self, collection: Collection) -> None:
        """Add a collection. Raises SMDebugTypeError."""
        if not isinstance(collection, Collection):
            raise SMDebugTypeError(f"add_collection({collection!r}): must be a Collection.")
        self.collection_manager.add(collection)

    def has_default_configuration(self) -> bool:
        """Return True where `losses` is the only saved collection."""
        return self.schedule.included == [CollectionKeys.LOSSES]

    def set_mode(self, mode: ModeKeys) -> None:
        """Set the mode of the forward passes that come. Raises SMDebugValueError."""
        self.counter.set_mode(mode)

    # Values of the script

    def save_scalar(self, name: str, value: Any, sm_metric: bool = False, timestamp: float | None = None) -> None:
        """Save a number under `scalar/{name}`. timestamp: seconds since 1970.

        sm_metric is accepted: metrics of a job come from its log. Raises SMDebugTypeError for several numbers.
        """
        if self.disabled:
            return
        array = self._as_array(value)
        if array.size != 1:
            raise SMDebugTypeError(f"save_scalar({name!r}): the value has {array.size} elements. Pass one number.")
        self.saved_steps.count_staged(f"save_scalar({name})")
        self._scalars.append(CachedScalar(SCALAR_PREFIX + name, array, timestamp or time.time()))
        if self._lossless and self.step >= 0:
            self._write_scalars(*self.counter.newest)

    def save_tensor(
        self, tensor_name: str, tensor_value: Any, collections_to_write: str | Sequence[str] = CollectionKeys.DEFAULT
    ) -> None:
        """Stage a tensor for the next saved step; see the module for when that is too late."""
        if self.disabled:
            return
        try:
            array = self._as_array(tensor_value)
        except TypeError:
            get_logger().warning(f"save_tensor({tensor_name!r}): {type(tensor_value).__name__} is no array; left out.")
            return
        self.saved_steps.count_staged(f"save_tensor({tensor_name})")
        names = [collections_to_write] if isinstance(collections_to_write, str) else list(collections_to_write)
        # A copy: the script may change the tensor before a step saves it. The last collection counts, as in smdebug.
        self._staged[tensor_name] = (array.copy(), names[-1] if names else CollectionKeys.DEFAULT)
        if self._lossless and self.step >= 0:
            self._begin_files()
            self._write_staged(*self.counter.newest)

    # Steps

    def begin_step(self, num_workers: int, worker: str) -> bool:
        """Begin a forward pass; returns True where something of it is saved."""
        if self.output.writer is not None:
            self._close_writers()
        if not self.schedule.prepared:
            self.schedule.prepare()
            names = ", ".join(collection.name for collection in self.schedule.saved())
            get_logger().info(f"Monitoring the collections: {names}")
        self._state.update(self.counter, self.last_saved_step)
        self.counter.advance()
        due = self.schedule.due(self.mode, self.counter.mode_step)
        self.saved_steps.count_pass(self.mode, self.counter.mode_step, due, self.schedule.save_config)
        self.output.num_workers, self.output.worker = num_workers, worker
        if due:
            self._begin_files()
        if self.last_saved_step is not None and not self._exported:
            self.export_collections()
        return bool(due)

    def is_saved_step(self) -> bool:
        """Return True where something of the present step is saved. Raises InvalidCollectionConfiguration."""
        return bool(self.schedule.due(self.mode, self.counter.mode_step))

    def save_named(self, name: str, value: Any) -> None:
        """Save a tensor of the framework, if a collection of this step has it."""
        mode, mode_step = self.mode, self.counter.mode_step
        collections = self.schedule.due_with_tensor(name, mode, mode_step)
        if not collections:
            return
        configs = [item.reduction_config or self.schedule.reduction_config for item in collections]
        if any(config.save_shape for config in configs) and self.output.writer is not None:
            self.output.writer.write_shape(name, value.shape, mode, mode_step)
        for reduction, is_abs in dict.fromkeys(pair for config in configs for pair in config.pairs()):
            reduced = self._reduce(reduction, value, is_abs)
            self.output.write(get_reduction_tensor_name(name, reduction, is_abs), reduced, mode, mode_step)
        saves_elements = any(config.save_raw_tensor for config in configs)
        if not saves_elements and self.output.tensorboard_dir is None:
            return  # reductions are computed on the device: nothing else has to leave it
        array = self._as_array(value)
        self.output.board_histogram(name, array, collections, self.counter)
        if saves_elements:
            self.output.write(name, array, mode, mode_step)
        self.output.board_scalar(name, array, collections, self.counter)

    def flush_staged(self) -> None:
        """Write the tensors of `save_tensor` under the present step, or discard them where it is not saved."""
        self._write_staged(self.mode, self.counter.mode_step)

    def export_collections(self) -> None:
        """Write the file that lists collections and their tensors."""
        self.collection_manager.set_num_workers(self.output.recording_workers)
        self.output.export(self.collection_manager.to_json())
        self._exported = True

    def close(self) -> None:
        """Write what is left, and the counts. May be called twice; later values are written by the next call."""
        if self.disabled or (self._closed and not self._scalars and self.output.writer is None):
            return
        self._close_writers()
        self.export_collections()
        self._report()
        self.output.end()
        self._closed = True

    def _report(self) -> None:
        if not self.schedule.prepared or not self.output.writes:
            return
        collections, default = self.schedule.saved(), self.schedule.save_config
        for sentence in self.saved_steps.sentences(collections, default):
            get_logger().warning(sentence)
        counts = self.saved_steps.to_json_dict(collections, default)
        self.output.files.write(layout.SAVED_STEPS, json.dumps(counts, indent=1).encode())

    def _begin_files(self) -> None:
        # A scalar may come before the first forward pass: step 0 is the first that readers know.
        self.output.open(max(self.step, 0))

    def _close_writers(self) -> None:
        if self._scalars:
            at = self.counter.newest if self._lossless else (self.mode, self.counter.mode_step)
            self._write_scalars(*at)
        self.output.close()

    def _write_scalars(self, mode: ModeKeys, mode_step: int) -> None:
        self._begin_files()
        written = set()
        for scalar in self._scalars:
            number = float(scalar.value.reshape(-1)[0])
            self.output.board_value(scalar.name, number, self.counter, scalar.timestamp)
            if self.output.write(scalar.name, scalar.value, mode, max(mode_step, 0), scalar.timestamp):
                written.add(scalar.name)
        # Of several values of one name, readers find the last.
        for name in written:
            self.saved_steps.count_written(f"save_scalar({name[len(SCALAR_PREFIX) :]})", mode, mode_step)
        self._scalars.clear()

    def _write_staged(self, mode: ModeKeys, mode_step: int) -> None:
        for name, (value, collection_name) in self._staged.items():
            collection = self.get_collection(collection_name)
            collection.add_tensor_name(name)
            config = collection.reduction_config or self.schedule.reduction_config
            if config.save_raw_tensor and self.output.write(name, value, mode, mode_step):
                self.saved_steps.count_written(f"save_tensor({name})", mode, mode_step)
        self._staged.clear()

    # What a framework knows

    def _as_array(self, value: Any) -> np.ndarray:
        """Return a value as an array. Raises TypeError for what is none."""
        return as_array(value)

    def _reduce(self, reduction: str, value: Any, is_abs: bool) -> Any:
        """Return a reduction of a tensor."""
        raise SMDebugRuntimeError("a hook without a framework has no tensors to reduce")


def as_array(value: Any) -> np.ndarray:
    """Return a number, a text, or a list of them as an array; one number has shape (1,). Raises TypeError."""
    array = np.asarray([value] if np.isscalar(value) else value)
    if array.dtype.kind == "O":
        raise TypeError(f"{type(value).__name__} is no array of numbers")
    return array


def include_names(names: Sequence[str] | None) -> list[str]:
    """Return the names of the saved collections; `losses` is always one."""
    return list(dict.fromkeys([CollectionKeys.LOSSES, *(names or ())]))
