"""TPE: Bayesian search by densities of good and bad points; the default."""

from __future__ import annotations

from optuna.samplers import BaseSampler, TPESampler

from clearsight.core.space import Space
from clearsight.tuning.samplers import trial_seed


class TPE:
    """Tree-structured Parzen estimator, multivariate, with trials under way counted as bad ones.

    Sources: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4; for the multivariate
    densities Falkner et al. 2018, "BOHB", section 3.2.
    """

    pruner = "median"

    def sampler(self, space: Space, seed: int, number: int) -> BaseSampler:
        return TPESampler(
            seed=trial_seed(seed, number),
            multivariate=True,
            group=True,  # fields that apply only sometimes are modelled among themselves
            constant_liar=True,
        )

    def size(self, space: Space) -> int | None:
        return None
