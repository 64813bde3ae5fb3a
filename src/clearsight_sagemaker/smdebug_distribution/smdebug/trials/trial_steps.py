"""TrialSteps: which steps a trial has, in which mode, with which tensors, by which workers."""

from __future__ import annotations

from smdebug.core.modes import ModeKeys


class TrialSteps:
    """Steps of a trial by global step and by mode. workers: how many complete a step."""

    def __init__(self, workers: int) -> None:
        self.last_complete = -1
        self._workers = workers
        self._by_mode: dict[ModeKeys, dict[int, int]] = {}  # mode -> its step -> global step; without GLOBAL
        self._modes: dict[int, tuple[ModeKeys, int]] = {}
        self._writers: dict[int, set[str]] = {}
        self._tensors: dict[int, set[str]] = {}
        self._tensors_of_mode: dict[ModeKeys, set[str]] = {}

    def add(self, step: int, mode: ModeKeys, mode_step: int, worker: str, tensor_name: str) -> None:
        """Add a tensor that a worker has written at a global step."""
        if mode is not ModeKeys.GLOBAL:
            self._by_mode.setdefault(mode, {}).setdefault(mode_step, step)
            self._tensors_of_mode.setdefault(mode, set()).add(tensor_name)
        self._modes.setdefault(step, (mode, mode_step))
        self._tensors.setdefault(step, set()).add(tensor_name)
        writers = self._writers.setdefault(step, set())
        writers.add(worker)
        if len(writers) >= self._workers:
            self.last_complete = max(self.last_complete, step)

    def finish(self) -> None:
        """Mark every step complete: training has ended."""
        self.last_complete = max(self._modes, default=self.last_complete)

    def is_complete(self, step: int) -> bool:
        return step <= self.last_complete or len(self._writers.get(step, ())) >= self._workers

    def steps(self, mode: ModeKeys) -> list[int]:
        """Return all steps of a mode, incomplete ones too."""
        return sorted(self._modes if mode is ModeKeys.GLOBAL else self._by_mode.get(mode, {}))

    def modes(self) -> list[ModeKeys]:
        return list(self._by_mode)

    def global_step(self, mode: ModeKeys, mode_step: int) -> int | None:
        return mode_step if mode is ModeKeys.GLOBAL else self._by_mode.get(mode, {}).get(mode_step)

    def mode_step(self, step: int) -> tuple[ModeKeys | None, int | None]:
        return self._modes.get(step, (None, None))

    def tensor_names(self, step: int | None, mode: ModeKeys) -> set[str] | None:
        """Return the tensors of a step, or of all steps of a mode; None for all of the trial."""
        if step is None:
            return None if mode is ModeKeys.GLOBAL else set(self._tensors_of_mode.get(mode, ()))
        global_step = self.global_step(mode, step)
        return set() if global_step is None else set(self._tensors.get(global_step, ()))
