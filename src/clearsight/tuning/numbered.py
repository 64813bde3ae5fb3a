"""Numbered: a sampler that is made for each trial by its number, once the storage has given it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class PerTrialSampler(BaseSampler):
    """Proposes what the sampler of the trial's own number does.

    Several may propose into one storage at the same moment: how many trials are there does not say which number the
    next one gets, and two that took the same would draw the same point.
    """

    def __init__(self, make: Callable[[int], BaseSampler]) -> None:
        self._make = make
        self._own: BaseSampler | None = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._own = self._make(trial.number)
        self._own.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        if self._own is not None:
            self._own.after_trial(study, trial, state, values)

    @property
    def _sampler(self) -> BaseSampler:
        assert self._own is not None, "asked before the trial was begun"
        return self._own
