"""Hyperband: random values, and a pruner whose brackets differ in how early they end trials."""

from __future__ import annotations

from clearsight.tuning.searchers.random import Random


class Hyperband(Random):
    """Hyperband over random values.

    Source: Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization".
    """

    pruner = "hyperband"
