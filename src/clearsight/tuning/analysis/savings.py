"""Savings of a study: the epochs, trials and forward passes that it did not have to compute."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clearsight.core.trial import Trial, TrialState


def study_savings(trials: Sequence[Trial]) -> dict[str, float]:
    """What was not computed, over the trials of a study.

    features_seconds: forward passes through frozen parts that the cache answered.  pruned_epochs and pruned_seconds:
    what pruned trials had yet to train, by the time of the epochs that they did train.  answered_trials: trials that
    had the recipe of an earlier one.
    """
    own = [trial for trial in trials if trial.own]
    pruned = [trial for trial in own if trial.state is TrialState.PRUNED]
    left = {trial.number: max(trial.planned - trial.epochs, 0) for trial in pruned}
    return {
        "features_seconds": math.fsum(trial.spared_seconds for trial in own),
        "pruned_trials": len(pruned),
        "pruned_epochs": sum(left.values()),
        "pruned_seconds": math.fsum(t.seconds / t.epochs * left[t.number] for t in pruned if t.epochs),
        "answered_trials": sum(trial.same_as is not None for trial in own),
    }
