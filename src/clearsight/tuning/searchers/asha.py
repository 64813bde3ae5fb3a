"""ASHA: random values, and a pruner that lets the better half of the trials continue at every rung."""

from __future__ import annotations

from clearsight.tuning.searchers.random import Random


class ASHA(Random):
    """Successive halving. Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"."""

    pruner = "asha"
