"""SavedTensors: what smdebug has written of a job, as conditions read it. The package `smdebug` must be on the path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from clearsight.core.errors import BadData, NotFound
from clearsight_sagemaker.rules.conditions.condition import Array, StepMode, StepTensors
from smdebug.core import layout
from smdebug.core.modes import ModeKeys
from smdebug.exceptions import SMDebugError
from smdebug.trials import LocalTrial


class SavedTensors:
    """Tensors in a folder. `refresh` reads what is new; nothing else does.

    locate: returns the folder of an s3:// address, for rules that compare jobs.
    """

    def __init__(self, folder: Path, locate: Callable[[str], Path]) -> None:
        self._folder, self._locate = folder, locate
        self._trial = LocalTrial(folder.name, str(folder))
        self._trial.dynamic_refresh = False
        self._last = -1

    @staticmethod
    def is_there(folder: Path) -> bool:
        """Return True where smdebug has written what its readers wait for."""
        return any((folder / layout.COLLECTIONS_FOLDER).glob("*_collections.json"))

    def refresh(self) -> list[int]:
        """Read what is new, and return the new steps in order. Raises BadData for damaged files."""
        try:
            self._trial.refresh_data()
        except (SMDebugError, ValueError, OSError) as error:
            raise BadData(str(self._folder), f"its tensors are damaged ({error})") from None
        steps = [step for step in self._trial.steps(ModeKeys.GLOBAL) if step > self._last]
        self._last = max(steps, default=self._last)
        return steps

    def names(self, step: int) -> Sequence[str]:
        """Return the names of the tensors of a step."""
        return self._trial.tensor_names(step=step, mode=ModeKeys.GLOBAL)

    def in_collection(self, name: str, collection: str) -> bool:
        """Return True for a tensor of a collection; there may be none of that name."""
        known = self._trial.collections().get(collection)
        return known is not None and (known.has_tensor_name(name) or known.matches(name))

    def mode(self, step: int) -> tuple[StepMode, int]:
        """Return the mode of a step, and its number within the mode."""
        mode, mode_step = self._trial.mode_modestep(step)
        if mode is None or mode_step is None:
            return "GLOBAL", step
        names: dict[ModeKeys, StepMode] = {ModeKeys.TRAIN: "TRAIN", ModeKeys.EVAL: "EVAL", ModeKeys.PREDICT: "PREDICT"}
        return names.get(mode, "GLOBAL"), mode_step

    def value(self, name: str, step: int) -> Array:
        """Return the elements of a tensor; empty where reductions of it alone were saved."""
        try:
            return np.asarray(self._trial.tensor(name).value(step, ModeKeys.GLOBAL))
        except SMDebugError:
            return np.empty(0)

    def reduction(self, name: str, step: int, reduction: str, *, absolute: bool = False) -> float:
        """Return a reduction of a tensor, stored or computed; NaN where neither is possible."""
        try:
            return float(self._trial.tensor(name).reduction_value(step, reduction, ModeKeys.GLOBAL, abs=absolute))
        except SMDebugError:
            return float("nan")

    def other(self, uri: str) -> StepTensors:
        """Return the tensors of another job. Raises NotFound where there are none."""
        folder = self._locate(uri)
        if not SavedTensors.is_there(folder):
            raise NotFound(uri, "there are no saved tensors", fix="Pass the address of the debug-output of a job.")
        other = SavedTensors(folder, self._locate)
        other.refresh()
        return other
