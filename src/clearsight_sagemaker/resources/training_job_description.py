"""Description of a training job, with the members that clients read without asking whether they are there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.jobs.progress import JobProgress, RuleStatus
from clearsight_sagemaker.state.home import LocalAccount
from clearsight_sagemaker.state.resource_table import Resource

# Members of the request that the description repeats as they are.
_REPEATED = (
    *("TrainingJobName", "HyperParameters", "AlgorithmSpecification", "RoleArn", "ResourceConfig", "VpcConfig"),
    *("StoppingCondition", "CheckpointConfig", "DebugHookConfig", "ExperimentConfig", "TensorBoardOutputConfig"),
    *("ProfilerConfig", "Environment", "RetryStrategy", "RemoteDebugConfig", "InfraCheckConfig", "MlflowConfig"),
)
_SWITCHES = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


def describe(resource: Resource, progress: JobProgress, account: LocalAccount) -> dict[str, Any]:
    """Return the members of DescribeTrainingJob. Those that are None are left out of the response."""
    request = resource.document["request"]
    output = request["OutputDataConfig"]
    model = progress.model or f"{output['S3OutputPath'].rstrip('/')}/{resource.name}/output/model.tar.gz"
    return {
        **{name: request[name] for name in _REPEATED if name in request},
        **{name: request.get(name, False) for name in _SWITCHES},
        "TrainingJobArn": resource.document["arn"],
        "TuningJobArn": resource.document.get("tuning_job"),
        "ModelArtifacts": {"S3ModelArtifacts": model},
        "TrainingJobStatus": progress.status,
        "SecondaryStatus": progress.secondary,
        "FailureReason": progress.reason if progress.status == "Failed" else None,
        "InputDataConfig": [*_channels(request)] or None,
        "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP", **output},
        "WarmPoolStatus": warm_pool_status(resource),
        "CreationTime": resource.created,
        "LastModifiedTime": max(resource.modified, progress.modified),
        "SecondaryStatusTransitions": [
            {
                "Status": transition.status,
                "StartTime": transition.start,
                "EndTime": transition.end,
                "StatusMessage": transition.message,
            }
            for transition in progress.transitions
        ],
        "FinalMetricDataList": [
            {"MetricName": name, "Value": value, "Timestamp": moment}
            for name, (value, moment) in progress.metrics.items()
        ]
        or None,
        **_times(progress),
        **_rules("Debug", request, progress, resource, account),
        **_rules("Profiler", request, progress, resource, account),
        "ProfilingStatus": _profiling_status(request),
    }


def warm_pool_status(resource: Resource) -> dict[str, Any] | None:
    """Return the status of a warm pool, None for a job without one: nothing is retained after a job on this machine."""
    if not resource.document["request"].get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds"):
        return None
    if resource.status in ("InProgress", "Stopping"):
        return {"Status": "InUse"}
    return {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}


def rule_job_name(job: str, rule: str) -> str:
    """Return the name of the processing job that judges a rule of a training job."""
    digest = hashlib.sha256(f"{job}/{rule}".encode()).hexdigest()[:8]
    return f"{job[:26]}-{rule[:26]}-{digest}".lower()


def _channels(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for channel in request.get("InputDataConfig", []):
        yield {"CompressionType": "None", "RecordWrapperType": "None", **channel}


def _times(progress: JobProgress) -> dict[str, Any]:
    started, finished = progress.started, progress.finished
    times: dict[str, Any] = {"TrainingStartTime": started, "TrainingEndTime": finished if started else None}
    if started is not None and finished is not None:
        seconds = max(1, round(finished - started))  # the shape allows no 0
        times |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
    return times


def _rules(
    kind: str, request: Mapping[str, Any], progress: JobProgress, resource: Resource, account: LocalAccount
) -> dict[str, Any]:
    configurations = request.get(f"{kind}RuleConfigurations")
    if not configurations:
        return {}
    statuses = []
    for configuration in configurations:
        name = configuration["RuleConfigurationName"]
        status = progress.rules.get((kind == "Profiler", name)) or _missing_status(progress, resource)
        if status.status == "InProgress" and progress.status == "Stopping":
            status = replace(status, status="Stopping", time=progress.transitions[-1].start)
        statuses.append(
            {
                "RuleConfigurationName": name,
                "RuleEvaluationJobArn": account.arn("processing-job", rule_job_name(resource.name, name)),
                "RuleEvaluationStatus": status.status,
                "StatusDetails": status.details or None,
                "LastModifiedTime": status.time,
            }
        )
    return {
        f"{kind}RuleConfigurations": [{"VolumeSizeInGB": 0, **configuration} for configuration in configurations],
        f"{kind}RuleEvaluationStatuses": statuses,
    }


def _missing_status(progress: JobProgress, resource: Resource) -> RuleStatus:
    """Return the status of a rule of which no event has come."""
    if not progress.ended:
        return RuleStatus(status="InProgress", details="", time=resource.created)
    if progress.status == "Stopped":
        return RuleStatus(status="Stopped", details="", time=progress.modified)
    details = "InternalServerError: the job ended before the rule was evaluated."
    return RuleStatus(status="Error", details=details, time=progress.modified)


def _profiling_status(request: Mapping[str, Any]) -> str | None:
    if "ProfilerConfig" not in request:
        return None
    return "Disabled" if request["ProfilerConfig"].get("DisableProfiler") else "Enabled"
