"""Numbered: a sampler that is made for each trial by its number, once the storage has given it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from clearsight.core.space import Params


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


class FixedSampler(BaseSampler):
    """Proposes `point`, whatever was tried before."""

    def __init__(self, point: Params) -> None:
        self._point = point

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._point[param_name]


def trial_seed(seed: int, number: int) -> int:
    """A seed in [0, 2**32) for proposal `number` of a study; different ones are independent of each other.

    Source: numpy.random.SeedSequence, which hashes its entropy so that neighbouring numbers give unlike streams.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
