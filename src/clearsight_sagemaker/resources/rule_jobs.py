"""Rule jobs: the processing jobs that judge the rules of training jobs, from the data of the training jobs."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from clearsight_sagemaker.protocols.errors import validation_error
from clearsight_sagemaker.resources.training_job_description import describe
from clearsight_sagemaker.state.resource_table import Resource, ResourceQuery
from clearsight_sagemaker.state.service_state import PROCESSING_JOB, TRAINING_JOB, ServiceState

_KINDS = ("Debug", "Profiler")
_STATUSES = {"NoIssuesFound": "Completed", "IssuesFound": "Completed", "Error": "Failed"}
_RUNNING = ("InProgress", "Stopping")


def describe_rule_job(state: ServiceState, name: str) -> dict[str, Any] | None:
    """Return the members of DescribeProcessingJob for the job of a rule; None where there is none of that name."""
    for job in state.table.every(TRAINING_JOB):
        if name.startswith(job.name[:26].lower()):
            for resource in _rule_jobs(state, job):
                if resource.name == name:
                    return dict(resource.document["description"])
    return None


def page_with_rule_jobs(state: ServiceState, query: ResourceQuery) -> tuple[list[Resource], str]:
    """Return a page of processing jobs and rule jobs, and the token of the next one; raises ServiceError."""
    rows = state.table.every(PROCESSING_JOB)
    rows += [resource for job in state.table.every(TRAINING_JOB) for resource in _rule_jobs(state, job)]
    found = sorted((row for row in rows if _fits(row, query)), key=lambda row: _place(row, query))
    if query.descending:
        found.reverse()
    if query.token:
        last = _read_token(query)
        found = [row for row in found if (_place(row, query) < last if query.descending else _place(row, query) > last)]
    page = found[: query.limit]
    if len(found) <= query.limit:
        return page, ""
    return page, base64.urlsafe_b64encode(json.dumps(_place(page[-1], query)).encode()).decode()


def _rule_jobs(state: ServiceState, job: Resource) -> Iterator[Resource]:
    request = job.document["request"]
    if not any(request.get(f"{kind}RuleConfigurations") for kind in _KINDS):
        return
    progress = state.training_jobs.progress(job.name)
    description = describe(job, progress, state.account)
    for kind in _KINDS:
        configurations = description.get(f"{kind}RuleConfigurations", [])
        for configuration, status in zip(
            configurations, description.get(f"{kind}RuleEvaluationStatuses", []), strict=True
        ):
            state_word = _STATUSES.get(status["RuleEvaluationStatus"], status["RuleEvaluationStatus"])
            ended = None if state_word in _RUNNING else status["LastModifiedTime"]
            name = status["RuleEvaluationJobArn"].rpartition("/")[2]
            yield Resource(
                kind=PROCESSING_JOB,
                name=name,
                status=state_word,
                created=job.created,
                modified=status["LastModifiedTime"],
                document={
                    "arn": status["RuleEvaluationJobArn"],
                    "state": {"ended": ended},
                    "description": {
                        "ProcessingJobName": name,
                        "ProcessingJobArn": status["RuleEvaluationJobArn"],
                        "ProcessingJobStatus": state_word,
                        "ProcessingResources": {
                            "ClusterConfig": {
                                "InstanceCount": 1,
                                "InstanceType": configuration.get("InstanceType", "ml.t3.medium"),
                                "VolumeSizeInGB": configuration["VolumeSizeInGB"] or 1,
                            }
                        },
                        "AppSpecification": {"ImageUri": configuration["RuleEvaluatorImage"]},
                        "Environment": configuration.get("RuleParameters") or None,
                        "RoleArn": request["RoleArn"],
                        "TrainingJobArn": job.document["arn"],
                        "ExitMessage": status["StatusDetails"],
                        "FailureReason": status["StatusDetails"] if state_word == "Failed" else None,
                        "CreationTime": job.created,
                        "ProcessingStartTime": progress.started,
                        "ProcessingEndTime": ended,
                        "LastModifiedTime": status["LastModifiedTime"],
                    },
                },
            )


def _fits(row: Resource, query: ResourceQuery) -> bool:
    in_time = all(
        (after is None or moment >= after) and (before is None or moment <= before)
        for moment, after, before in (
            (row.created, query.created_after, query.created_before),
            (row.modified, query.modified_after, query.modified_before),
        )
    )
    return in_time and query.name_contains in row.name and query.status in ("", row.status)


def _place(row: Resource, query: ResourceQuery) -> list[Any]:
    return [getattr(row, query.sort_by), row.number, row.name]


def _read_token(query: ResourceQuery) -> list[Any]:
    try:
        value, number, name = json.loads(base64.urlsafe_b64decode(query.token))
    except (ValueError, TypeError, binascii.Error):
        value, number, name = None, None, None
    is_place = isinstance(value, float | int if query.sort_by == "created" else str)
    if not is_place or not isinstance(number, int) or not isinstance(name, str):
        raise validation_error("The NextToken is not one that this service returned.")
    return [value, number, name]
