"""Optuna samplers for one proposal each, the seed of a trial, and the base of searchers.

A proposal depends on the study's seed, the trial's number and the trials that are known, and on nothing that a kill
would lose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from clearsight.core.space import Params, Space

Distributions = dict[str, BaseDistribution]


def trial_seed(seed: int, number: int) -> int:
    """Return a seed in [0, 2**32) for proposal `number` of a study; seeds of different proposals are independent.

    Source: numpy.random.SeedSequence, which hashes its entropy so that neighbouring numbers give unlike streams.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


class UnlimitedSearcher:
    """Base of the searchers that always have another trial to propose."""

    pruner = "median"

    def size(self, space: Space) -> int | None:
        return None


class FixedSampler(BaseSampler):
    """Sampler that proposes the same values whatever was tried before."""

    def __init__(self, params: Params) -> None:
        self._params = params

    # An empty relative space makes Optuna ask `sample_independent` for every parameter.
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Distributions) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._params[param_name]


class PerTrialSampler(BaseSampler):
    """Sampler that builds another sampler for each trial, from the number that the storage gave to the trial.

    The number of existing trials would not do: several machines may propose into one storage at the same moment, and
    two that counted the same trials would draw the same values.
    """

    def __init__(self, build: Callable[[int], BaseSampler]) -> None:
        self._build = build
        self._built: BaseSampler | None = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        # The first call with a number: Optuna has created the trial in the storage by now.
        self._built = self._build(trial.number)
        self._built.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Distributions) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        # A trial that was added or recovered ends without a proposal of this process.
        if self._built is not None:
            self._built.after_trial(study, trial, state, values)

    @property
    def _sampler(self) -> BaseSampler:
        assert self._built is not None, "asked before the trial has begun"
        return self._built
