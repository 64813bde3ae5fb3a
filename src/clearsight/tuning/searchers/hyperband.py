"""Hyperband: random points in brackets that differ in how early they halve."""

from __future__ import annotations

from clearsight.tuning.searchers.random import Random


class Hyperband(Random):
    """Hyperband over random points.

    Source: Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization".
    """

    pruner = "hyperband"
