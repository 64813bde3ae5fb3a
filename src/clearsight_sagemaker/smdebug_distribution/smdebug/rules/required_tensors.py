"""RequiredTensors: the tensors and steps that a rule needs for one judgement."""

from __future__ import annotations

from typing import Iterable, Sequence

from smdebug.core.tensor import Tensor
from smdebug.exceptions import TensorUnavailable
from smdebug.trials.trial import Trial


class RequiredTensors:
    """Tensors of one or several trials; without `trial`, those of the base trial are meant."""

    def __init__(self, base_trial: Trial, other_trials: Sequence[Trial] | None) -> None:
        self.base_trial = base_trial
        self._steps: dict[Trial, dict[str, list[int]]] = {trial: {} for trial in (base_trial, *(other_trials or ()))}

    def add(
        self, name: str, steps: Iterable[int], trial: Trial | None = None, should_match_regex: bool = False
    ) -> None:
        """Require steps of a tensor, or of all tensors that match a pattern. Raises TensorUnavailable for a name."""
        trial = trial or self.base_trial
        if should_match_regex:
            names = trial.tensor_names(regex=[name])
        elif trial.has_tensor(name):
            names = [name]
        else:
            raise TensorUnavailable(name)
        for found in names:
            self._steps[trial].setdefault(found, []).extend(steps)

    def get_names(self, trial: Trial | None = None) -> list[str]:
        return list(self._steps[trial or self.base_trial])

    def get_tensor_steps(self, name: str, trial: Trial | None = None) -> list[int]:
        return self._steps[trial or self.base_trial][name]

    def get(self, trial: Trial | None = None) -> list[Tensor]:
        """Return the required tensors."""
        trial = trial or self.base_trial
        return [trial.tensor(name) for name in self._steps[trial]]

    def clear(self) -> None:
        for steps in self._steps.values():
            steps.clear()

    def fetch(self) -> None:
        """Wait for the steps and read the values, so that what is missing is known before the rule runs."""
        for trial, required in self._steps.items():
            trial.wait_for_steps(sorted({step for steps in required.values() for step in steps}))
            for name, steps in required.items():
                for step in steps:
                    trial.tensor(name).value(step)
