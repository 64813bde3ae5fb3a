"""Descriptions of tuning jobs and summaries of their training jobs, with the members that clients read unasked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.state.home import LocalAccount
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import TRAINING_JOB, ServiceState
from clearsight_sagemaker.tuning.child import TuningChild
from clearsight_sagemaker.tuning.completion import completion_details
from clearsight_sagemaker.tuning.definitions import TuningDefinition, resource_config
from clearsight_sagemaker.tuning.tuning_job import TuningJob

_REPEATED = ("HyperParameterTuningJobConfig", "WarmStartConfig", "Autotune")


def describe_tuning(job: TuningJob, account: LocalAccount, now: float) -> dict[str, Any]:
    """Return the members of DescribeHyperParameterTuningJob. now: seconds since 1970."""
    resource, document = job.resource, job.resource.document
    definitions = [_definition(definition) for definition in job.definitions]
    is_list = "TrainingJobDefinitions" in job.request
    best = job.best
    return {
        "HyperParameterTuningJobName": resource.name,
        "HyperParameterTuningJobArn": document["arn"],
        **{name: job.request[name] for name in _REPEATED if name in job.request},
        **({"TrainingJobDefinitions": definitions} if is_list else {"TrainingJobDefinition": definitions[0]}),
        "HyperParameterTuningJobStatus": resource.status,
        "CreationTime": resource.created,
        "HyperParameterTuningEndTime": document.get("ended"),
        "LastModifiedTime": resource.modified,
        "TrainingJobStatusCounters": job.status_counts(),
        "ObjectiveStatusCounters": job.objective_counts(),
        "BestTrainingJob": None if best is None else child_summary(job, best, account),
        "OverallBestTrainingJob": _overall_best(job, account),
        "FailureReason": document.get("reason") or None,
        "TuningJobCompletionDetails": completion_details(job),
        "ConsumedResources": {"RuntimeInSeconds": round(document.get("ended", now) - resource.created)},
    }


def tuning_summary(job: TuningJob) -> dict[str, Any]:
    """Return a tuning job as ListHyperParameterTuningJobs has it."""
    resource = job.resource
    return {
        "HyperParameterTuningJobName": resource.name,
        "HyperParameterTuningJobArn": resource.document["arn"],
        "HyperParameterTuningJobStatus": resource.status,
        "Strategy": job.config["Strategy"],
        "CreationTime": resource.created,
        "HyperParameterTuningEndTime": resource.document.get("ended"),
        "LastModifiedTime": resource.modified,
        "TrainingJobStatusCounters": job.status_counts(),
        "ObjectiveStatusCounters": job.objective_counts(),
        "ResourceLimits": job.limits,
    }


def child_summary(
    job: TuningJob, child: TuningChild, account: LocalAccount, row: Resource | None = None
) -> dict[str, Any]:
    """Return a training job as lists have it. row: of a job that has not ended, None for one that has no row yet."""
    definition, end = job.definition(child), child.end
    state = row.document["state"] if row is not None else {}
    metric = None
    if end is not None and end.value is not None and end.has_objective:
        kind = {"Type": definition.kind} if definition.name else {}
        metric = {**kind, "MetricName": definition.metric, "Value": end.value}
    return {
        "TrainingJobDefinitionName": definition.name or definition.request.get("DefinitionName"),
        "TrainingJobName": child.name,
        "TrainingJobArn": account.arn(TRAINING_JOB, child.name),
        "CreationTime": end.created if end else row.created if row else job.resource.modified,
        "TrainingStartTime": end.started if end else state.get("started"),
        "TrainingEndTime": (end.ended if end.started else None) if end else None,
        "TrainingJobStatus": end.status if end else _running_status(row),
        "TunedHyperParameters": dict(child.tuned),
        "FailureReason": end.reason or None if end else None,
        "FinalHyperParameterTuningJobObjectiveMetric": metric,
        "ObjectiveStatus": child.objective_status,
    }


def child_summaries(state: ServiceState, job: TuningJob) -> list[dict[str, Any]]:
    """Return all training jobs of a tuning job in the order of their numbers; those that run as they are now."""
    summaries = []
    for child in job.children:
        row = state.table.get(TRAINING_JOB, child.name) if child.end is None else None
        summaries.append(child_summary(job, child, state.account, row))
    return summaries


def _running_status(row: Resource | None) -> str:
    """Return the status of a job whose end the tuning job has not seen."""
    return "Stopping" if row is not None and row.status == "Stopping" else "InProgress"


def _definition(definition: TuningDefinition) -> dict[str, Any]:
    """Return a definition as it was sent, with what clients read of it besides."""
    request: Mapping[str, Any] = definition.request
    return {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **request,
        "StaticHyperParameters": definition.static,
        "ResourceConfig": resource_config(request),
        "OutputDataConfig": {"KmsKeyId": "", **request["OutputDataConfig"]},
    }


def _overall_best(job: TuningJob, account: LocalAccount) -> dict[str, Any] | None:
    """Return the best training job of a tuning job and its parents; None without parents of the same data."""
    if job.request.get("WarmStartConfig", {}).get("WarmStartType") != "IdenticalDataAndAlgorithm":
        return None
    earlier, best = job.resource.document.get("best_parent"), job.best
    found = None if best is None else {**child_summary(job, best, account), "TuningJobName": job.resource.name}
    if found is None or earlier is None:
        return found or earlier
    metric = "FinalHyperParameterTuningJobObjectiveMetric"
    return earlier if job.objective.better(earlier[metric]["Value"], found[metric]["Value"]) else found
