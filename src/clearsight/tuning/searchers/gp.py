"""GaussianProcess: Bayesian search by a Gaussian process; for a few dozen trials that each take long."""

from __future__ import annotations

from optuna.samplers import BaseSampler, GPSampler

from clearsight.core.space import Space
from clearsight.tuning.samplers import trial_seed
from clearsight.tuning.searchers.tpe import TPE


class GaussianProcess:
    """A Gaussian process with a Matern kernel and log expected improvement. Fields that apply only sometimes are drawn
    by TPE.

    Source: Ament et al. 2023, "Unexpected Improvements to Expected Improvement for Bayesian Optimization".
    """

    pruner = "median"

    def sampler(self, space: Space, seed: int, number: int) -> BaseSampler:
        return GPSampler(
            seed=trial_seed(seed, number),
            independent_sampler=TPE().sampler(space, seed, number),
        )

    def size(self, space: Space) -> int | None:
        return None
