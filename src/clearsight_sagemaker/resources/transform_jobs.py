"""Batch transform jobs: create, describe, list, stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.jobs.progress import JobProgress
from clearsight_sagemaker.resources.job_kind import JobKind, job_status
from clearsight_sagemaker.resources.listing import listing_query
from clearsight_sagemaker.resources.models import find_model
from clearsight_sagemaker.resources.transform_requests import checked_transform_request
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import TRANSFORM_JOB, Operation, ServiceState

TRANSFORM = JobKind(TRANSFORM_JOB, "TransformJobName")
# Members of the request that the description repeats as they are.
_REPEATED = (
    *("TransformJobName", "ModelName", "MaxConcurrentTransforms", "ModelClientConfig", "MaxPayloadInMB"),
    *("BatchStrategy", "Environment", "TransformInput", "TransformOutput", "DataCaptureConfig", "TransformResources"),
    *("DataProcessing", "ExperimentConfig"),
)


def create_transform_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a job and put it into the queue. It has the model of this moment, whatever becomes of its name."""
    checked = checked_transform_request(request)
    model = find_model(state, checked["ModelName"]).document
    facts = {
        "PrimaryContainer": model["container"],
        "EnableNetworkIsolation": model["request"].get("EnableNetworkIsolation", False),
    }
    return {"TransformJobArn": TRANSFORM.create(state, checked, {"model": facts})}


def describe_transform_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about a job."""
    return describe(*TRANSFORM.find(state, request["TransformJobName"]))


def describe(resource: Resource, progress: JobProgress) -> dict[str, Any]:
    """Return the members of DescribeTransformJob. Those that are None are left out of the response."""
    values = resource.document["request"]
    return {
        **{name: values[name] for name in _REPEATED if values.get(name) not in (None, {})},
        "TransformJobArn": resource.document["arn"],
        "TransformJobStatus": progress.status,
        "FailureReason": progress.reason if progress.status == "Failed" else None,
        "TransformStartTime": progress.started,
        "TransformEndTime": progress.finished,
        "CreationTime": resource.created,
    }


def list_transform_jobs(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of summaries."""
    TRANSFORM.queue(state).refresh()
    resources, token = state.page(listing_query(TRANSFORM.kind, request))
    return {"TransformJobSummaries": [_summary(state, resource) for resource in resources], "NextToken": token or None}


def stop_transform_job(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Ask a job to stop."""
    TRANSFORM.stop(state, request["TransformJobName"])


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "CreateTransformJob"): create_transform_job,
    ("sagemaker", "DescribeTransformJob"): describe_transform_job,
    ("sagemaker", "ListTransformJobs"): list_transform_jobs,
    ("sagemaker", "StopTransformJob"): stop_transform_job,
}


def _summary(state: ServiceState, resource: Resource) -> dict[str, Any]:
    reason = TRANSFORM.queue(state).progress(resource.name).reason if resource.status == "Failed" else ""
    return {
        "TransformJobName": resource.name,
        "TransformJobArn": resource.document["arn"],
        "CreationTime": resource.created,
        "TransformEndTime": resource.document["state"].get("ended"),
        "LastModifiedTime": resource.modified,
        "TransformJobStatus": job_status(resource),
        "FailureReason": reason or None,
    }
