"""GaussianProcess: Bayesian search with a Gaussian process; for a few dozen long trials."""

from __future__ import annotations

from optuna.samplers import BaseSampler, GPSampler

from clearsight.core.space import Space
from clearsight.tuning.samplers import UnlimitedSearcher, trial_seed
from clearsight.tuning.searchers.tpe import TPE


class GaussianProcess(UnlimitedSearcher):
    """Gaussian process with a Matern kernel and log expected improvement; TPE draws conditional settings.

    Source: Ament et al. 2023, "Unexpected Improvements to Expected Improvement for Bayesian Optimization".
    """

    def sampler(self, space: Space, seed: int, number: int) -> BaseSampler:
        return GPSampler(seed=trial_seed(seed, number), independent_sampler=TPE().sampler(space, seed, number))
