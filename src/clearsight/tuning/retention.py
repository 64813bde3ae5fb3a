"""WeightRetention: deletes the weights of trials that are no longer among the best."""

from __future__ import annotations

from clearsight.core.study import Study
from clearsight.core.trial import TrialState, complete_trials, pareto_front
from clearsight.tuning.trial_store import TrialStore


class WeightRetention:
    """Keeps the weights of the `keep` best trials, and with several objectives also those of the Pareto front.

    A network's checkpoints take tens of megabytes, and a study has dozens of trials. The scores of all trials stay.
    """

    def __init__(self, study: Study, store: TrialStore) -> None:
        self._study, self._store = study, store
        self._deleted: set[int] = set()

    def update(self) -> None:
        """Delete the weights of every trial that has ended and is not among the best."""
        trials, plan = self._store.trials(), self._study.plan
        sign = -1 if plan.objectives[0].direction == "maximize" else 1
        # Of equal values the earlier trial ranks first, as in `best_trial`.
        ranked = sorted(complete_trials(trials), key=lambda trial: (sign * trial.values[0], trial.number))
        # A trial that shares a result has no weights of its own: the weights are those of the trial that was trained.
        retained = {trial.number if trial.same_as is None else trial.same_as for trial in ranked[: plan.keep]}
        if len(plan.objectives) > 1:
            retained |= {trial.number for trial in pareto_front(trials, plan.objectives)}
        for trial in trials:
            ended = not trial.imported and trial.state is not TrialState.RUNNING
            if ended and trial.number not in retained and trial.number not in self._deleted:
                self._store.folder(trial.number).delete_weights()
                self._deleted.add(trial.number)
