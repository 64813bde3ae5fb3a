"""Stopping rules of a study: limits that the plan sets, and trials that all fail for the same reason."""

from __future__ import annotations

from collections.abc import Sequence

from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Trial, TrialState, best_trial


def study_stop_reason(plan: StudyPlan, trials: Sequence[Trial], seconds: float) -> StopReason | None:
    """Return the limit of the plan that the study has reached; None to continue.

    seconds: of work so far. Trials of earlier studies do not count.
    """
    trials = [trial for trial in trials if not trial.imported]
    objective = plan.objectives[0]
    best = best_trial(trials, objective)
    # Time comes first: it is the one limit that leaves running trials resumable (StudyRunner).
    if plan.time_limit is not None and seconds >= plan.time_limit:
        return StopReason(StopKind.TIME_LIMIT, f"the time limit of {plan.time_limit:g} s was reached")
    if plan.epoch_budget is not None and (epochs := sum(trial.epochs for trial in trials)) >= plan.epoch_budget:
        text = f"the budget of {plan.epoch_budget} epochs is used up ({epochs} were trained)"
        return StopReason(StopKind.EPOCH_BUDGET, text)
    if best is not None and plan.target is not None and not objective.better(plan.target, best.values[0]):
        text = f"trial {best.number} reached the target of {plan.target:g} ({best.values[0]:.4g})"
        return StopReason(StopKind.TARGET, text)
    if best is not None and plan.stop_after is not None:
        # An equal value is no improvement, and a pruned or failed trial counts as one without improvement.
        later = [trial for trial in trials if trial.number > best.number and trial.state is not TrialState.RUNNING]
        if len(later) >= plan.stop_after:
            text = f"{len(later)} trials in a row were no better than trial {best.number}"
            return StopReason(StopKind.NO_IMPROVEMENT, text)
    return None


def common_failure(trials: Sequence[Trial], least: int = 3) -> str:
    """Return the reason for which every ended trial has failed, if there are at least `least`; else ""."""
    ended = [trial for trial in trials if not trial.imported and trial.state is not TrialState.RUNNING]
    if len(ended) < least or any(trial.state is not TrialState.FAILED for trial in ended):
        return ""
    reasons = {trial.reason for trial in ended}
    return reasons.pop() if len(reasons) == 1 else ""
