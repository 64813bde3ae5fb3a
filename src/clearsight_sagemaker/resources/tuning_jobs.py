"""Hyperparameter tuning jobs: create, describe, list, stop, delete, and the list of their training jobs."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.resources.listing import listing_query
from clearsight_sagemaker.resources.tags import tag_map
from clearsight_sagemaker.resources.tuning_job_description import (
    child_summaries,
    child_summary,
    describe_tuning,
    tuning_summary,
)
from clearsight_sagemaker.resources.tuning_job_requests import checked_tuning_request
from clearsight_sagemaker.state.item_pages import Key, page_of_items
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import TUNING_JOB, Operation, ServiceState
from clearsight_sagemaker.tuning.definitions import TuningDefinition
from clearsight_sagemaker.tuning.tuning_job import IN_PROGRESS, TuningJob
from clearsight_sagemaker.tuning.warm_start import best_parent, check_parent, parent_names, parent_trials

_MOST_SEED = 2**31
_METRIC = "FinalHyperParameterTuningJobObjectiveMetric"


def create_tuning_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a tuning job; its thread creates the training jobs."""
    checked, definitions = checked_tuning_request(request)
    name = checked["HyperParameterTuningJobName"]
    arn = state.account.arn(TUNING_JOB, name)
    seed = checked["HyperParameterTuningJobConfig"].get("RandomSeed")
    resource = Resource(
        kind=TUNING_JOB,
        name=name,
        status="InProgress",
        document={
            "request": checked,
            "arn": arn,
            "seed": secrets.randbelow(_MOST_SEED) if seed is None else seed,
            "children": [],
            **_warm_start(state, checked, definitions),
        },
        tags=tag_map(checked.get("Tags", [])),
    )
    try:
        state.table.add(resource)
    except ResourceExists:
        text = "Hyperparameter tuning job names must be unique within an AWS account and region, and a tuning job with"
        raise ServiceError("ResourceInUse", f"{text} this name already exists ({arn})") from None
    state.tuning_changed.set()
    return {"HyperParameterTuningJobArn": arn}


def describe_tuning_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about a tuning job."""
    return describe_tuning(_tuning_job(state, request), state.account, time.time())


def list_tuning_jobs(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of summaries, the newest first unless another order is asked for."""
    resources, token = state.page(listing_query(TUNING_JOB, request))
    summaries = [tuning_summary(TuningJob(resource)) for resource in resources]
    return {"HyperParameterTuningJobSummaries": summaries, "NextToken": token or None}


def list_training_jobs_of_tuning_job(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of the training jobs of a tuning job, the newest first unless another order is asked for."""
    job = _tuning_job(state, request)
    status, sort_by = request.get("StatusEquals"), request.get("SortBy", "Name")
    listed = [
        (child.number, summary)
        for child, summary in zip(job.children, child_summaries(state, job), strict=True)
        if status in (None, summary["TrainingJobStatus"])
        # As AWS does: without a value there is no place in this order.
        and (sort_by != "FinalObjectiveMetricValue" or summary[_METRIC] is not None)
    ]

    def key(item: tuple[int, dict[str, Any]]) -> Key:
        number, summary = item
        if sort_by == "FinalObjectiveMetricValue":
            return summary[_METRIC]["Value"], number
        member = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}[sort_by]
        return summary[member], number

    page, token = page_of_items(
        listed,
        key,
        descending=request.get("SortOrder", "Ascending" if "SortBy" in request else "Descending") == "Descending",
        limit=request.get("MaxResults", 10),
        token=request.get("NextToken", ""),
    )
    return {"TrainingJobSummaries": [summary for _, summary in page], "NextToken": token or None}


def stop_tuning_job(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Ask a tuning job to stop, with the training jobs that run."""
    name = request["HyperParameterTuningJobName"]

    def changed(row: Resource) -> Resource:
        if row.status not in IN_PROGRESS:
            text = f"The request was rejected because the hyperparameter tuning job is in status {row.status}."
            raise validation_error(text)
        return row if row.status == "Stopping" else replace(row, status="Stopping", modified=time.time())

    if state.table.change(TUNING_JOB, name, changed) is None:
        raise _not_found()
    state.tuning_changed.set()


def delete_tuning_job(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Delete a tuning job that has ended; its training jobs stay."""
    job = _tuning_job(state, request)
    if job.resource.status in IN_PROGRESS:
        text = f"The request was rejected because the hyperparameter tuning job is in status {job.resource.status}."
        raise validation_error(text)
    state.table.remove(TUNING_JOB, job.resource.name)
    shutil.rmtree(state.home.studies / job.resource.name, ignore_errors=True)


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "CreateHyperParameterTuningJob"): create_tuning_job,
    ("sagemaker", "DeleteHyperParameterTuningJob"): delete_tuning_job,
    ("sagemaker", "DescribeHyperParameterTuningJob"): describe_tuning_job,
    ("sagemaker", "ListHyperParameterTuningJobs"): list_tuning_jobs,
    ("sagemaker", "ListTrainingJobsForHyperParameterTuningJob"): list_training_jobs_of_tuning_job,
    ("sagemaker", "StopHyperParameterTuningJob"): stop_tuning_job,
}


def _tuning_job(state: ServiceState, request: Mapping[str, Any]) -> TuningJob:
    resource = state.table.get(TUNING_JOB, request["HyperParameterTuningJobName"])
    if resource is None:
        raise _not_found()
    return TuningJob(resource)


def _not_found() -> ServiceError:
    return ServiceError("ResourceNotFound", "Requested resource not found.")


def _warm_start(
    state: ServiceState, request: Mapping[str, Any], definitions: Sequence[TuningDefinition]
) -> dict[str, Any]:
    """Return what a tuning job begins with: the parents may be deleted before it has ended."""
    parents = [
        check_parent(request, definitions, name, state.table.get(TUNING_JOB, name)) for name in parent_names(request)
    ]
    found = best_parent(parents)
    return {
        "imported": [trial for parent in parents for trial in parent_trials(definitions, parent)],
        "best_parent": None
        if found is None
        else {**child_summary(found[0], found[1], state.account), "TuningJobName": found[0].resource.name},
    }
