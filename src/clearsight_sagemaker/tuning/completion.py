"""Completion of a tuning job: limits, completion criteria, and how the job ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clearsight_sagemaker.tuning.tuning_job import TuningJob

ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."
_ATTEMPTS = 5  # training jobs after which a tuning job without any success ends
_IMPROVEMENT = 0.01  # of the best value; less is no improvement
_CONVERGED_AFTER = 10  # training jobs in a row without an improvement


@dataclass(frozen=True, kw_only=True)
class TuningEnd:
    """End of a tuning job. status: Completed, Failed or Stopped.  cause: why, for people.  reason: FailureReason."""

    status: str
    cause: str = ""
    reason: str = ""


def early_end(job: TuningJob, now: float) -> TuningEnd | None:
    """Return how a tuning job ends before its last training job, once a limit or a criterion is met; None to go on.

    now: seconds since 1970.
    """
    criteria, seconds = job.config.get("TuningJobCompletionCriteria", {}), job.limits.get("MaxRuntimeInSeconds")
    if seconds is not None and now - job.resource.created >= seconds:
        return TuningEnd(status="Completed", cause=f"MaxRuntimeInSeconds ({seconds}) is over")
    if failure := _no_success(job):
        return failure
    target, best = criteria.get("TargetObjectiveMetricValue"), job.best
    if target is not None and best is not None and best.end is not None and best.end.value is not None:
        value = best.end.value
        if not job.objective.better(target, value):
            return TuningEnd(
                status="Completed", cause=f"the objective has reached {value:g}, and its target is {target:g}"
            )
    limit = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
    if limit is not None and not_improving(job) >= limit:
        return TuningEnd(status="Completed", cause=f"{limit} training jobs in a row have not improved the objective")
    wants = criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled"
    if wants and convergence_time(job) is not None:
        return TuningEnd(status="Completed", cause="the search has converged")
    return None


def final_end(job: TuningJob) -> TuningEnd:
    """Return how a tuning job ends whose training jobs have all ended by themselves or by a criterion."""
    if job.best is not None or not job.children:
        return TuningEnd(status="Completed")
    statuses = {child.end.status for child in job.children if child.end is not None}
    if statuses == {"Failed"}:
        return TuningEnd(status="Failed", reason=ALL_FAILED)
    if "Completed" in statuses:
        return TuningEnd(status="Failed", reason=_without_objective(job))
    return TuningEnd(status="Completed")  # stopped by a limit before the first value of the objective


def not_improving(job: TuningJob) -> int:
    """Return how many training jobs have ended since the objective last improved by 1 per cent or more."""
    return _not_improving_times(job)[0]


def convergence_time(job: TuningJob) -> float | None:
    """Return when the search converged, in seconds since 1970; None where it has not.

    It has when 10 training jobs in a row have not improved the objective by 1 per cent.
    """
    return _not_improving_times(job)[1]


def completion_details(job: TuningJob) -> dict[str, Any]:
    """Return TuningJobCompletionDetails."""
    return {
        "NumberOfTrainingJobsObjectiveNotImproving": not_improving(job),
        "ConvergenceDetectedTime": convergence_time(job),
    }


def _not_improving_times(job: TuningJob) -> tuple[int, float | None]:
    best, count, converged = math.nan, 0, None
    for child in job.scored:
        if child.end is None or child.end.value is None:
            continue
        value = child.end.value
        is_better = math.isnan(best) or job.objective.better(value, best)
        if is_better and (math.isnan(best) or abs(value - best) >= _IMPROVEMENT * abs(best)):
            best, count = value, 0
            continue
        count += 1
        if count >= _CONVERGED_AFTER and converged is None:
            converged = child.end.ended
    return count, converged


def _no_success(job: TuningJob) -> TuningEnd | None:
    ended = [child.end for child in job.children if child.end is not None and child.end.status != "Stopped"]
    if len(ended) < _ATTEMPTS or any(child.has_objective for child in job.children):
        return None
    if all(end.status == "Failed" for end in ended):
        reason = f"No training job succeeded after {_ATTEMPTS} attempts."
        details = "Please take a look at the training job failures to get more details."
        return TuningEnd(status="Failed", reason=f"{reason} {details}")
    return TuningEnd(status="Failed", reason=_without_objective(job))


def _without_objective(job: TuningJob) -> str:
    names: Mapping[str, None] = dict.fromkeys(definition.metric for definition in job.definitions)
    count = sum(child.end is not None for child in job.children)
    return (
        f"No objective metrics found after running {count} training job{'s' if count > 1 else ''}. Please ensure that"
        f" the custom algorithm is emitting the objective metric ({', '.join(names)}) as defined by the regular"
        " expression provided."
    )
