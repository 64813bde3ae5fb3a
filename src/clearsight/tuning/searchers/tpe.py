"""TPE: Bayesian search with densities of good and of bad values; the default."""

from __future__ import annotations

from optuna.samplers import BaseSampler, TPESampler

from clearsight.core.space import Space
from clearsight.tuning.samplers import UnlimitedSearcher, trial_seed


class TPE(UnlimitedSearcher):
    """Tree-structured Parzen estimator, multivariate, with running trials counted as bad ones.

    Sources: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4; for the multivariate
    densities Falkner et al. 2018, "BOHB", section 3.2.
    """

    def sampler(self, space: Space, seed: int, number: int) -> BaseSampler:
        return TPESampler(
            seed=trial_seed(seed, number),
            multivariate=True,
            group=True,  # conditional settings are modelled apart from the others
            constant_liar=True,  # keeps parallel workers away from values that are being tried
        )
