"""NSGA2: a genetic search; for several objectives."""

from __future__ import annotations

from optuna.samplers import BaseSampler, NSGAIISampler

from clearsight.core.space import Space
from clearsight.tuning.samplers import trial_seed


class NSGA2:
    """Non-dominated sorting.

    Source: Deb et al. 2002, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II".
    """

    pruner = "none"

    def sampler(self, space: Space, seed: int, number: int) -> BaseSampler:
        return NSGAIISampler(population_size=20, seed=trial_seed(seed, number))

    def size(self, space: Space) -> int | None:
        return None
