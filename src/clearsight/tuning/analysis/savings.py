"""Savings of a study: the epochs, trials and forward passes that it did not have to compute."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clearsight.core.trial import Trial, TrialState


def study_savings(trials: Sequence[Trial]) -> dict[str, float]:
    """Return the work that the trials of a study saved.

    features_seconds: of forward passes through frozen parts that the cache replaced.
    pruned_trials: number of pruned trials.  pruned_epochs, pruned_seconds: epochs that they still planned, and their
    time, estimated from the epochs that each of them trained; a trial pruned before its first epoch has no estimate.
    answered_trials: number of trials with the recipe of an earlier one, whose result they share.
    """
    study_trials = [trial for trial in trials if not trial.imported]
    pruned = [trial for trial in study_trials if trial.state is TrialState.PRUNED]
    saved_epochs = {trial.number: max(trial.planned - trial.epochs, 0) for trial in pruned}
    return {
        "features_seconds": math.fsum(trial.saved_seconds for trial in study_trials),
        "pruned_trials": len(pruned),
        "pruned_epochs": sum(saved_epochs.values()),
        "pruned_seconds": math.fsum(
            trial.seconds / trial.epochs * saved_epochs[trial.number] for trial in pruned if trial.epochs
        ),
        "answered_trials": sum(trial.same_as is not None for trial in study_trials),
    }
