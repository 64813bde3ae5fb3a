"""Reasons to stop a running training job early: the median rule, Hyperband, and findings of rules."""

from __future__ import annotations

from clearsight.core.format import several
from clearsight_sagemaker.jobs.progress import JobProgress
from clearsight_sagemaker.tuning.child import TuningChild
from clearsight_sagemaker.tuning.curves import ObjectiveCurves
from clearsight_sagemaker.tuning.definitions import FINDINGS_TAG
from clearsight_sagemaker.tuning.tuning_job import TuningJob

_FOUND = "IssuesFound"
_MIN_RESOURCE, _MAX_RESOURCE = 1, 27  # epochs, where the request names none


def stop_reason(job: TuningJob, child: TuningChild, curves: ObjectiveCurves, progress: JobProgress) -> str:
    """Return why a running training job should stop, a sentence without its point; "" to let it go on."""
    if job.resource.tags.get(FINDINGS_TAG):
        found = [name for (_, name), rule in progress.rules.items() if rule.status == _FOUND]
        if found:
            return f"the rule {found[0]} has found an issue"
    if job.config["Strategy"] == "Hyperband":
        return _hyperband_reason(job, child, curves)
    if job.config["TrainingJobEarlyStoppingType"] == "Auto":
        return _median_reason(job, child, curves)
    return ""


def _median_reason(job: TuningJob, child: TuningChild, curves: ObjectiveCurves) -> str:
    curve = _curve(job, child, curves)
    earlier = [_curve(job, other, curves) for other in job.children if other.end is not None] if curve else []
    if not job.study.is_below_median(curve, earlier):
        return ""
    value = f"{job.definition(child).metric} {curve[-1]:.6g} after {several(len(curve), 'value')}"
    return f"{value} is worse than the median of the earlier training jobs"


def _hyperband_reason(job: TuningJob, child: TuningChild, curves: ObjectiveCurves) -> str:
    settings = job.config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    low = settings.get("MinResource", _MIN_RESOURCE)
    high = settings.get("MaxResource", max(_MAX_RESOURCE, low))
    curve = _curve(job, child, curves)
    if "MaxResource" in settings and len(curve) >= high:
        return f"it has used MaxResource ({high})"
    if len(curve) < low:
        return ""
    by_number = {other.number: _curve(job, other, curves) for other in job.children}
    rung = job.study.rung_behind(child.number, by_number, low, high)
    return (
        f"it is behind the best third of the training jobs of its bracket after {several(rung, 'value')}"
        if rung
        else ""
    )


def _curve(job: TuningJob, child: TuningChild, curves: ObjectiveCurves) -> list[float]:
    return curves.curve(child.name, job.definition(child).metric, has_ended=child.end is not None)
