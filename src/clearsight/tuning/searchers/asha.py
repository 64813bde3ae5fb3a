"""ASHA: random points, of which at every rung the better third goes on."""

from __future__ import annotations

from clearsight.tuning.searchers.random import Random


class ASHA(Random):
    """Asynchronous successive halving over random points.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning".
    """

    pruner = "asha"
