"""JobKind: what creating, finding, stopping, deleting and listing jobs have in common, whatever the jobs do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clearsight_sagemaker.experiments.job_components import (
    add_job_component,
    check_experiment_config,
    keep_job_facts,
)
from clearsight_sagemaker.jobs.progress import JobProgress
from clearsight_sagemaker.jobs.queue import ACTIVE, JobQueue
from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.resources.tags import tag_map
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import ServiceState

ENDED = ("Completed", "Failed", "Stopped")
_MOST_ACTIVE = 1000  # jobs that wait or run
_CREATING = "Creating"  # not yet InProgress: the queue must not see a job before its folder is there


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job. kind: "processing-job".  member: of the name in requests, "ProcessingJobName"."""

    kind: str
    member: str

    @property
    def word(self) -> str:
        """Return the kind as texts have it: "processing job"."""
        return self.kind.replace("-", " ")

    def queue(self, state: ServiceState) -> JobQueue:
        """Return the queue of the jobs."""
        return state.queues[self.kind]

    def create(self, state: ServiceState, request: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> str:
        """Store a job, put it into the queue and return its ARN.

        request: checked, with its defaults.  facts: what the process finds in service.json beside those of the service.
        """
        check_experiment_config(state, request)
        name, arn = request[self.member], state.account.arn(self.kind, request[self.member])
        active = self.queue(state).count_active()
        if active >= _MOST_ACTIVE:
            text = f"The service has {active} {self.word}s that wait or run, and the limit is {_MOST_ACTIVE}."
            raise ServiceError("ResourceLimitExceeded", f"{text} Wait until some have ended, or stop them.")
        document = {"request": dict(request), "arn": arn, "state": {"secondary": "Starting"}}
        document["facts"] = dict(facts or {})
        tags = tag_map(request.get("Tags", []))
        resource = Resource(kind=self.kind, name=name, status=_CREATING, document=document, tags=tags)
        try:
            state.table.add(resource)
        except ResourceExists:
            text = "Job name must be unique within an AWS account and region, and a job with this name already exists"
            raise ServiceError("ResourceInUse", f"{text} ({arn})") from None
        self._complete_creation(state, resource)
        return arn

    def complete_creations(self, state: ServiceState) -> None:
        """Complete the jobs that a service has stored and was killed before it put them into the queue."""
        for resource in state.table.every(self.kind, _CREATING):
            self._complete_creation(state, resource)

    def _complete_creation(self, state: ServiceState, resource: Resource) -> None:
        add_job_component(state, self.kind, resource.name, resource.document["request"])
        folder = self.queue(state).folder(resource.name)
        folder.create(resource.document["request"], {**state.service_facts, **resource.document["facts"]})
        folder.append("status", secondary="Starting", message=f"Starting the {self.word}")
        state.table.change(self.kind, resource.name, lambda row: replace(row, status="InProgress"))
        self.queue(state).wake()

    def find(self, state: ServiceState, name: str) -> tuple[Resource, JobProgress]:
        """Return the row of a job as its events have it now, and its events; raises ServiceError."""
        resource = state.table.get(self.kind, name)
        if resource is None:
            raise validation_error(f"Could not find requested job with name: {name}")
        if resource.status in ACTIVE:
            resource = self.queue(state).record(resource)
        return resource, self.queue(state).progress(name)

    def stop(self, state: ServiceState, name: str) -> None:
        """Ask a job to stop; raises ServiceError for one that has ended."""
        resource, _ = self.find(state, name)
        if resource.status in ENDED:
            text = f"The request was rejected because the {self.word} is in status {resource.status}."
            raise validation_error(text)
        if resource.status != "Stopping":
            self.queue(state).stop(name)

    def delete(self, state: ServiceState, name: str) -> None:
        """Delete a job that has ended, with its log; what it has written stays in its bucket."""
        resource, _ = self.find(state, name)
        if resource.status not in ENDED:
            text = f"The request was rejected because the {self.word} is in status {resource.status}."
            raise validation_error(text)
        keep_job_facts(state, self.kind, name)
        self.queue(state).forget(name)


def job_status(resource: Resource) -> str:
    """Return the status of a job as clients know it."""
    return "InProgress" if resource.status == _CREATING else resource.status
