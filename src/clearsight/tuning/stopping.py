"""Limits: when a study has done enough."""

from __future__ import annotations

from collections.abc import Sequence

from clearsight.core.study import StudyPlan
from clearsight.core.trial import Trial, TrialState, best_trial, complete_trials


def study_stop_reason(plan: StudyPlan, trials: Sequence[Trial], seconds: float) -> str:
    """Why no further trial is worth beginning, though some were planned; "" to go on.

    seconds: of work so far. Trials from earlier studies count for nothing here.
    """
    own = [trial for trial in trials if trial.own]
    best = best_trial(own, plan.objectives[0])
    if plan.time_limit is not None and seconds >= plan.time_limit:
        return f"the time limit of {plan.time_limit:g} s was reached"
    if plan.epoch_budget is not None and (spent := sum(trial.epochs for trial in own)) >= plan.epoch_budget:
        return f"the budget of {plan.epoch_budget} epochs is spent ({spent} were trained)"
    if best is not None and plan.target is not None and not plan.objectives[0].better(plan.target, best.values[0]):
        return f"the target of {plan.target:g} was reached by trial {best.number} ({best.values[0]:.4g})"
    if best is not None and plan.stop_after is not None:
        later = [trial for trial in own if trial.number > best.number and trial.state is not TrialState.RUNNING]
        if len(later) >= plan.stop_after:
            return f"{len(later)} trials in a row brought nothing better than trial {best.number}"
    return ""


def all_failed_alike(trials: Sequence[Trial], least: int = 3) -> str:
    """The one reason for which every trial so far has failed, where there are at least `least`; else ""."""
    own = [trial for trial in trials if trial.own and trial.state is not TrialState.RUNNING]
    reasons = {trial.reason for trial in own if trial.state is TrialState.FAILED}
    alike = len(own) >= least and not complete_trials(own) and len(reasons) == 1
    return reasons.pop() if alike and all(trial.state is TrialState.FAILED for trial in own) else ""
