"""Processing jobs: create, describe, list, stop, delete. Jobs that judge rules of training jobs are among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.jobs.progress import JobProgress
from clearsight_sagemaker.resources.job_kind import JobKind, job_status
from clearsight_sagemaker.resources.listing import listing_query
from clearsight_sagemaker.resources.processing_requests import checked_processing_request
from clearsight_sagemaker.resources.rule_jobs import describe_rule_job, page_with_rule_jobs
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import PROCESSING_JOB, Operation, ServiceState

PROCESSING = JobKind(PROCESSING_JOB, "ProcessingJobName")
# Members of the request that the description repeats as they are.
_REPEATED = (
    *("ProcessingJobName", "ProcessingInputs", "ProcessingOutputConfig", "ProcessingResources", "StoppingCondition"),
    *("AppSpecification", "Environment", "NetworkConfig", "RoleArn", "ExperimentConfig"),
)


def create_processing_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a job and put it into the queue."""
    return {"ProcessingJobArn": PROCESSING.create(state, checked_processing_request(request))}


def describe_processing_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about a job."""
    if state.table.get(PROCESSING_JOB, request["ProcessingJobName"]) is None:
        rule_job = describe_rule_job(state, request["ProcessingJobName"])
        if rule_job is not None:
            return rule_job
    return describe(*PROCESSING.find(state, request["ProcessingJobName"]))


def describe(resource: Resource, progress: JobProgress) -> dict[str, Any]:
    """Return the members of DescribeProcessingJob. Those that are None are left out of the response."""
    values = resource.document["request"]
    return {
        **{name: values[name] for name in _REPEATED if values.get(name)},
        "ProcessingJobArn": resource.document["arn"],
        "ProcessingJobStatus": progress.status,
        "ExitMessage": progress.exit_message or None,
        "FailureReason": progress.reason if progress.status == "Failed" else None,
        "ProcessingStartTime": progress.started,
        "ProcessingEndTime": progress.finished,
        "CreationTime": resource.created,
        "LastModifiedTime": max(resource.modified, progress.modified),
    }


def list_processing_jobs(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of summaries."""
    PROCESSING.queue(state).refresh()
    resources, token = page_with_rule_jobs(state, listing_query(PROCESSING.kind, request))
    return {"ProcessingJobSummaries": [_summary(state, resource) for resource in resources], "NextToken": token or None}


def stop_processing_job(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Ask a job to stop."""
    PROCESSING.stop(state, request["ProcessingJobName"])


def delete_processing_job(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Delete a job that has ended."""
    PROCESSING.delete(state, request["ProcessingJobName"])


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "CreateProcessingJob"): create_processing_job,
    ("sagemaker", "DeleteProcessingJob"): delete_processing_job,
    ("sagemaker", "DescribeProcessingJob"): describe_processing_job,
    ("sagemaker", "ListProcessingJobs"): list_processing_jobs,
    ("sagemaker", "StopProcessingJob"): stop_processing_job,
}


def _summary(state: ServiceState, resource: Resource) -> dict[str, Any]:
    facts = resource.document["state"]
    summary = {
        "ProcessingJobName": resource.name,
        "ProcessingJobArn": resource.document["arn"],
        "CreationTime": resource.created,
        "ProcessingEndTime": facts.get("ended"),
        "LastModifiedTime": resource.modified,
        "ProcessingJobStatus": job_status(resource),
    }
    if resource.number and resource.status in ("Failed", "Completed"):
        progress = PROCESSING.queue(state).progress(resource.name)
        reason = progress.reason if resource.status == "Failed" else ""
        summary |= {"FailureReason": reason or None, "ExitMessage": progress.exit_message or None}
    return summary
