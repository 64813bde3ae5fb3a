"""Tensor: what a trial has of one tensor, by mode, step and worker."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy as np

from smdebug.core.modes import ModeKeys
from smdebug.core.reductions import get_numpy_reduction
from smdebug.exceptions import (
    InvalidWorker,
    NoMoreData,
    ShapeUnavailableForStep,
    SMDebugNotImplementedError,
    StepNotYetAvailable,
    StepUnavailable,
    TensorUnavailableForStep,
)


class StepState(Enum):
    """Availability of a step."""

    UNAVAILABLE = 0
    AVAILABLE = 1
    NOT_YET_AVAILABLE = 2


@dataclass(frozen=True)
class TensorLocation:
    """Place of a tensor's record in an event file. start, length: bytes."""

    event_file: str
    start: int
    length: int


@dataclass
class WorkerStep:
    """Record of a tensor at one step by one worker. reductions: (name, of absolutes) -> place."""

    location: TensorLocation | None = None
    shape: tuple[int, ...] | None = None
    value: np.ndarray | None = None
    reductions: dict[tuple[str, bool], TensorLocation] = field(default_factory=dict)


class TensorSource(Protocol):
    """Trial, as a tensor needs it."""

    cache: bool
    loaded_all_steps: bool

    def maybe_refresh(self) -> None:
        """Read what is new."""

    def mode_modestep(self, global_step: int) -> tuple[ModeKeys | None, int | None]:
        """Return mode and step in it, of a global step."""

    def global_step(self, mode: ModeKeys, mode_step: int) -> int | None:
        """Return the global step of a step of a mode."""

    def is_complete(self, global_step: int) -> bool:
        """Return True for a step that every worker has written, or that no worker will write any more."""

    def has_passed_step(self, step: int, mode: ModeKeys = ModeKeys.GLOBAL) -> StepState:
        """Return whether a step is there."""

    def steps(self, mode: ModeKeys = ModeKeys.GLOBAL) -> list[int]:
        """Return the complete steps of a mode."""

    def fetch(self, location: TensorLocation) -> np.ndarray | None:
        """Return the value of a record; None where its file does not come any more."""


class Tensor:
    """A saved tensor: its steps, values, shapes and reductions.

    Steps are those of `mode`, by default global steps. worker: by default the first that has saved the step.
    """

    def __init__(self, name: str, trial: TensorSource) -> None:
        self.name = name
        self.trial = trial
        self.original_name: str | None = None
        self._saved: dict[ModeKeys, dict[int, dict[str, WorkerStep]]] = {}

    def entry(self, mode: ModeKeys, mode_step: int, worker: str) -> WorkerStep:
        """Return what a worker has saved at a step, empty at first."""
        return self._saved.setdefault(mode, {}).setdefault(mode_step, {}).setdefault(worker, WorkerStep())

    def steps(self, mode: ModeKeys = ModeKeys.GLOBAL, show_incomplete_steps: bool = False) -> list[int]:
        """Return the steps that have the tensor, sorted."""
        self.trial.maybe_refresh()
        found = []
        for saved_mode in [mode] if mode is not ModeKeys.GLOBAL else list(self._saved):
            for mode_step in self._saved.get(saved_mode, {}):
                step = self.trial.global_step(saved_mode, mode_step)
                if step is not None and (show_incomplete_steps or self.trial.is_complete(step)):
                    found.append(step if mode is ModeKeys.GLOBAL else mode_step)
        return sorted(found)

    def prev_steps(self, step: int, n: int | None = None, mode: ModeKeys = ModeKeys.GLOBAL) -> list[int]:
        """Return the last `n` steps up to and with `step`; all of them for None."""
        steps = self.steps(mode=mode)
        earlier = steps[: bisect.bisect_right(steps, step)]
        return earlier[-n:] if n else earlier

    def workers(self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL) -> list[str]:
        """Return the workers that have saved a step. Raises TensorUnavailableForStep."""
        workers = self._workers_at(step_num, mode)
        if workers is None:
            raise TensorUnavailableForStep(self.name, step_num, mode)
        return list(workers)

    def value(self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None) -> np.ndarray:
        """Return the elements at a step.

        Raises TensorUnavailableForStep, StepUnavailable, StepNotYetAvailable, NoMoreData, InvalidWorker.
        """
        saved = self._at(step_num, mode, worker)
        value = self._elements(saved)
        if value is None:
            raise TensorUnavailableForStep(self.name, step_num, mode, bool(saved.reductions))
        return value

    def values(self, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None) -> dict[int, np.ndarray]:
        """Return step -> elements, of all steps."""
        return {step: self.value(step, mode, worker) for step in self.steps(mode=mode)}

    def shape(self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None) -> tuple[int, ...]:
        """Return the shape at a step. Raises ShapeUnavailableForStep, and what `value` raises."""
        saved = self._at(step_num, mode, worker)
        if saved.shape is not None:
            return saved.shape
        value = self._elements(saved)
        if value is None:
            raise ShapeUnavailableForStep(self.name, step_num, mode)
        return value.shape

    def reduction_value(
        self,
        step_num: int,
        reduction_name: str,
        mode: ModeKeys = ModeKeys.GLOBAL,
        worker: str | None = None,
        abs: bool = False,
    ) -> Any:
        """Return a reduction at a step, computed from the elements where it was not saved.

        reduction_name: min, max, mean, std, variance, sum, prod, l1, l2.  abs: of the absolutes.  Raises as `value`.
        """
        saved = self._at(step_num, mode, worker)
        location = saved.reductions.get((reduction_name, abs))
        stored = self.trial.fetch(location) if location is not None else None
        if stored is not None:
            return stored
        value = self._elements(saved)
        if value is None:
            raise TensorUnavailableForStep(f"{self.name} ({reduction_name})", step_num, mode)
        return get_numpy_reduction(reduction_name, value, abs)

    def reduction_values(
        self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None
    ) -> dict[tuple[str, bool], Any]:
        """Return (name, of absolutes) -> value, of the saved reductions."""
        saved = self._at(step_num, mode, worker)
        return {
            (name, is_abs): self.reduction_value(step_num, name, mode, worker, is_abs)
            for name, is_abs in saved.reductions
        }

    def step(self, step_num: int, mode: ModeKeys = ModeKeys.GLOBAL, worker: str | None = None) -> Any:
        """Raise SMDebugNotImplementedError: `value` and `reduction_value` have replaced this method."""
        raise SMDebugNotImplementedError("Tensor.step is gone: use tensor.value or tensor.reduction_value.")

    def _elements(self, saved: WorkerStep) -> np.ndarray | None:
        if saved.value is not None or saved.location is None:
            return saved.value
        value = self.trial.fetch(saved.location)
        if self.trial.cache:
            saved.value = value
        return value

    def _workers_at(self, step_num: int, mode: ModeKeys) -> dict[str, WorkerStep] | None:
        direct = self._saved.get(mode, {}).get(step_num)
        if direct is not None or mode is not ModeKeys.GLOBAL:
            return direct
        saved_mode, mode_step = self.trial.mode_modestep(step_num)
        if saved_mode is None or mode_step is None:
            return None
        return self._saved.get(saved_mode, {}).get(mode_step)

    def _at(self, step_num: int, mode: ModeKeys, worker: str | None) -> WorkerStep:
        workers = self._workers_at(step_num, mode)
        if workers is None:
            self.trial.maybe_refresh()
            workers = self._workers_at(step_num, mode)
        if workers is None:
            raise self._absence(step_num, mode)
        name = sorted(workers)[0] if worker is None else worker
        if name not in workers:
            raise InvalidWorker(name)
        return workers[name]

    def _absence(self, step_num: int, mode: ModeKeys) -> Exception:
        """Return the error for a step without this tensor."""
        state = self.trial.has_passed_step(step_num, mode)
        if state is StepState.AVAILABLE:
            return TensorUnavailableForStep(self.name, step_num, mode)
        if state is StepState.UNAVAILABLE:
            return StepUnavailable(step_num, mode)
        if self.trial.loaded_all_steps:
            return NoMoreData(step_num, mode, max(self.trial.steps(mode=mode), default=-1))
        return StepNotYetAvailable(step_num, mode)
