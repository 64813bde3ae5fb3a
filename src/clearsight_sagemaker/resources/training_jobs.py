"""Training jobs: create, describe, list, stop, update."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.experiments.job_components import (
    add_job_component,
    check_experiment_config,
    keep_job_facts,
)
from clearsight_sagemaker.jobs.queue import ACTIVE
from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.resources.listing import listing_query
from clearsight_sagemaker.resources.tags import tag_map
from clearsight_sagemaker.resources.training_job_description import describe, warm_pool_status
from clearsight_sagemaker.resources.training_job_requests import checked_training_request
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import TRAINING_JOB, Operation, ServiceState

_ENDED = ("Completed", "Failed", "Stopped")
_MOST_ACTIVE = 1000  # jobs that wait or run
_CREATING = "Creating"  # not yet InProgress: the queue must not see a job before its folder is there


def create_training_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a job and put it into the queue."""
    checked = checked_training_request(request)
    check_experiment_config(state, checked)
    return {"TrainingJobArn": _add_job(state, checked, {})}


def create_child_job(state: ServiceState, request: Mapping[str, Any], tuning_job: str) -> None:
    """Create a training job of a tuning job, unless that was done already. tuning_job: its ARN."""
    existing = state.table.get(TRAINING_JOB, request["TrainingJobName"])
    if existing is None:
        _add_job(state, checked_training_request(request), {"tuning_job": tuning_job})
    elif existing.document.get("tuning_job") != tuning_job:
        raise _name_in_use(existing.document["arn"])
    elif existing.status == _CREATING:
        _complete_creation(state, existing.name, existing.document["request"])


def _add_job(state: ServiceState, checked: dict[str, Any], facts: Mapping[str, Any]) -> str:
    """Store a job, put it into the queue, and return its ARN. facts: further members of its document."""
    active = state.training_jobs.count_active()
    if active >= _MOST_ACTIVE:
        text = f"The service has {active} training jobs that wait or run, and the limit is {_MOST_ACTIVE}."
        raise ServiceError("ResourceLimitExceeded", f"{text} Wait until some have ended, or stop them.")
    name, arn = checked["TrainingJobName"], state.account.arn(TRAINING_JOB, checked["TrainingJobName"])
    resource = Resource(
        kind=TRAINING_JOB,
        name=name,
        status=_CREATING,
        document={"request": checked, "arn": arn, "state": {"secondary": "Starting"}, **facts},
        tags=tag_map(checked.get("Tags", [])),
    )
    try:
        state.table.add(resource)
    except ResourceExists:
        raise _name_in_use(arn) from None
    _complete_creation(state, name, checked)
    return arn


def _name_in_use(arn: str) -> ServiceError:
    text = "Training job names must be unique within an AWS account and region, and a training job with this name"
    return ServiceError("ResourceInUse", f"{text} already exists ({arn})")


def complete_creations(state: ServiceState) -> None:
    """Complete the jobs that a service has stored and was killed before it put them into the queue."""
    for resource in state.table.every(TRAINING_JOB, _CREATING):
        _complete_creation(state, resource.name, resource.document["request"])


def _complete_creation(state: ServiceState, name: str, request: dict[str, Any]) -> None:
    add_job_component(state, TRAINING_JOB, name, request)
    folder = state.training_jobs.folder(name)
    folder.create(request, state.service_facts)
    folder.append("status", secondary="Starting", message="Starting the training job")
    state.table.change(TRAINING_JOB, name, lambda row: replace(row, status="InProgress"))
    state.training_jobs.wake()


def describe_training_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about a job."""
    resource = _job(state, request["TrainingJobName"])
    return describe(resource, state.training_jobs.progress(resource.name), state.account)


def list_training_jobs(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of summaries, those of the newest jobs first unless another order is asked for."""
    state.training_jobs.refresh()
    pool, plan = request.get("WarmPoolStatusEquals"), request.get("TrainingPlanArnEquals")

    def accepts(resource: Resource) -> bool:
        config = resource.document["request"].get("ResourceConfig", {})
        fits_pool = pool is None or (warm_pool_status(resource) or {}).get("Status") == pool
        return fits_pool and (plan is None or config.get("TrainingPlanArn") == plan)

    resources, token = state.page(listing_query(TRAINING_JOB, request, accepts))
    return {"TrainingJobSummaries": [_summary(resource) for resource in resources], "NextToken": token or None}


def stop_training_job(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Ask a job to stop."""
    resource = _job(state, request["TrainingJobName"])
    if resource.status in _ENDED:
        text = f"The request was rejected because the training job is in status {resource.status}."
        raise validation_error(text)
    if resource.status != "Stopping":
        state.training_jobs.stop(resource.name)


def update_training_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change profiler settings or the keep-alive period of a job; its process may read the request again."""
    resource = _job(state, request["TrainingJobName"])
    if resource.status in _ENDED and "ResourceConfig" not in request:
        text = f"The request was rejected because the training job is in status {resource.status}."
        raise validation_error(text)

    address = request.get("ProfilerConfig", {}).get("S3OutputPath")
    if address not in (None, profiler_address := _profiler_address(resource)) and profiler_address:
        raise validation_error(f"S3OutputPath of the profiler cannot be changed: it is {profiler_address}.")

    def changed(row: Resource) -> Resource:
        before = row.document["request"]
        after = dict(before)
        for name in ("ProfilerConfig", "ResourceConfig", "RemoteDebugConfig"):
            if name in request:
                after[name] = {**before.get(name, {}), **request[name]}
        # Rules are added to those that run already.
        rules = {rule["RuleConfigurationName"]: rule for rule in request.get("ProfilerRuleConfigurations", [])}
        running = before.get("ProfilerRuleConfigurations", [])
        names = {rule["RuleConfigurationName"] for rule in running}
        added = [rule for name, rule in rules.items() if name not in names]
        if added:
            after["ProfilerRuleConfigurations"] = [*running, *added]
        return replace(row, document={**row.document, "request": after}, modified=time.time())

    updated = state.table.change(TRAINING_JOB, resource.name, changed) or resource
    state.training_jobs.folder(resource.name).write_request(updated.document["request"])
    return {"TrainingJobArn": updated.document["arn"]}


def delete_training_job(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Delete a job that has ended, with its log; its artifacts stay in their bucket."""
    resource = _job(state, request["TrainingJobName"])
    if resource.status not in _ENDED:
        text = f"The request was rejected because the training job is in status {resource.status}."
        raise validation_error(text)
    keep_job_facts(state, TRAINING_JOB, resource.name)
    state.training_jobs.forget(resource.name)


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "CreateTrainingJob"): create_training_job,
    ("sagemaker", "DeleteTrainingJob"): delete_training_job,
    ("sagemaker", "DescribeTrainingJob"): describe_training_job,
    ("sagemaker", "ListTrainingJobs"): list_training_jobs,
    ("sagemaker", "StopTrainingJob"): stop_training_job,
    ("sagemaker", "UpdateTrainingJob"): update_training_job,
}


def _profiler_address(resource: Resource) -> str:
    """Return S3OutputPath of a job's profiler, "" where it has none."""
    return str((resource.document["request"].get("ProfilerConfig") or {}).get("S3OutputPath", ""))


def _job(state: ServiceState, name: str) -> Resource:
    """Return the row of a job as its events have it now; raises ServiceError."""
    resource = state.table.get(TRAINING_JOB, name)
    if resource is None:
        raise validation_error("Requested resource not found.")
    return state.training_jobs.record(resource) if resource.status in ACTIVE else resource


def _summary(resource: Resource) -> dict[str, Any]:
    facts = resource.document["state"]
    return {
        "TrainingJobName": resource.name,
        "TrainingJobArn": resource.document["arn"],
        "CreationTime": resource.created,
        "TrainingEndTime": facts.get("ended"),
        "LastModifiedTime": resource.modified,
        "TrainingJobStatus": "InProgress" if resource.status == _CREATING else resource.status,
        "SecondaryStatus": facts["secondary"],
        "WarmPoolStatus": warm_pool_status(resource),
        "TrainingPlanArn": resource.document["request"].get("ResourceConfig", {}).get("TrainingPlanArn"),
    }
