"""Shelf: of which trials the weights stay on disk."""

from __future__ import annotations

from clearsight.core.study import Study
from clearsight.core.trial import TrialState, complete_trials, pareto_front
from clearsight.tuning.trial_store import TrialStore


class WeightRetention:
    """Keeps the weights of the `keep` best trials, and of the whole front where there are several objectives.

    A network's checkpoints are tens of megabytes and a study has dozens of trials; what they scored stays in any case.
    """

    def __init__(self, study: Study, ledger: TrialStore) -> None:
        self._study, self._ledger = study, ledger
        self._dropped: set[int] = set()

    def sort(self) -> None:
        """Let go of what is no longer among the best."""
        trials, aim = self._ledger.trials(), self._study.aim
        sign = -1 if aim.direction == "maximize" else 1
        ranked = sorted(complete_trials(trials), key=lambda trial: (sign * trial.values[0], trial.number))
        kept = {trial.number if trial.same_as is None else trial.same_as for trial in ranked[: self._study.plan.keep]}
        if len(self._study.plan.objectives) > 1:
            kept |= {trial.number for trial in pareto_front(trials, self._study.plan.objectives)}
        for trial in trials:
            over = trial.own and trial.state is not TrialState.RUNNING
            if over and trial.number not in kept and trial.number not in self._dropped:
                self._ledger.folder(trial.number).drop_weights()
                self._dropped.add(trial.number)
