"""Pruners: Optuna's pruners, with their parameters set from the number of epochs of a trial."""

from __future__ import annotations

from collections.abc import Callable

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from clearsight.core.errors import BadChoice

_FACTOR = 3  # between Hyperband's rungs; the value that its authors use
_FIRST = 3  # epochs before a first rung: earlier, warm-up and chance affect a score more than the settings do
_STARTUP = 4  # trials that must have ended before there is a median


def build_pruner(name: str, epochs: int) -> BasePruner:
    """Return the pruner of that name for trials of at most `epochs` epochs; raises BadChoice for an unknown name."""
    if name not in PRUNERS:
        raise BadChoice(f"--prune {name}", "no such pruner", got=name, allowed=(*PRUNERS, "auto"))
    return PRUNERS[name](epochs)


def _median(epochs: int) -> BasePruner:
    """Prune trials below the median of the earlier trials at the same epoch; not in the first tenth of the epochs.

    Source: Golovin et al. 2017, "Google Vizier", section 3.2.2.
    """
    first = max(1, epochs // 10)
    return MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=first + 1)  # Optuna counts steps from 0, we from 1


def _asha(epochs: int) -> BasePruner:
    """Let the better half continue at an eighth, a quarter and half of the epochs, but not before the third epoch.

    A half, and not a third or a quarter as for thousands of trials: among some tens of trials the best one is easily
    behind that many others while its learning rate is still high. Source: Li et al. 2020, "A System for Massively
    Parallel Hyperparameter Tuning", algorithm 2.
    """
    return SuccessiveHalvingPruner(min_resource=max(_FIRST, round(epochs / 8)), reduction_factor=2)


PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda epochs: NopPruner(),
    "median": _median,
    "asha": _asha,
    "hyperband": lambda epochs: HyperbandPruner(
        min_resource=1, max_resource=max(_FACTOR, epochs), reduction_factor=_FACTOR
    ),
}
