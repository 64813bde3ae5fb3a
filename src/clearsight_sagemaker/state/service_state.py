"""ServiceState: what every operation of the service works on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from clearsight_sagemaker.endpoints.hosted_endpoints import HostedEndpoints
from clearsight_sagemaker.jobs.queue import JobQueue
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.state.home import LocalAccount, ServiceHome
from clearsight_sagemaker.state.resource_table import BadToken, Resource, ResourceQuery, ResourceTable

TRAINING_JOB = "training-job"
TUNING_JOB = "hyper-parameter-tuning-job"
PROCESSING_JOB = "processing-job"
TRANSFORM_JOB = "transform-job"


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """Everything that operations read and change.

    queues: of jobs, by kind.  job_environment: variables that scripts of jobs get.
    endpoints: what serves them.  file_lock: held while a file of the home is appended to.
    tuning_changed: set when tuning jobs change.
    endpoint_url: where the service listens; the processes of jobs are told it.  s3_endpoint: of an S3 in the place of
    the service's own, "" for none.
    """

    home: ServiceHome
    account: LocalAccount
    table: ResourceTable
    queues: Mapping[str, JobQueue]
    endpoint_url: str
    endpoints: HostedEndpoints
    job_environment: Mapping[str, str] = field(default_factory=dict)
    s3_endpoint: str = ""
    file_lock: threading.Lock = field(default_factory=threading.Lock)
    tuning_changed: threading.Event = field(default_factory=threading.Event)

    @property
    def training_jobs(self) -> JobQueue:
        """Queue of training jobs."""
        return self.queues[TRAINING_JOB]

    @property
    def service_facts(self) -> dict[str, Any]:
        """Facts about the service for the processes of jobs and of models, which read them from service.json."""
        account = self.account
        return {
            "region": account.region,
            "account": account.account,
            "role": account.role_arn,
            "bucket": account.bucket,
            "endpoint_url": self.endpoint_url,
            "objects": str(self.home.objects),
            "s3_endpoint": self.s3_endpoint,
            "home": str(self.home.folder),
            "access_key": account.access_key,
            "secret_key": account.secret_key,
            "job_environment": dict(self.job_environment),
        }

    def page(self, query: ResourceQuery) -> tuple[list[Resource], str]:
        """Return a page of resources and the token of the next one; raises ServiceError for a wrong token."""
        try:
            return self.table.page(query)
        except BadToken:
            raise ServiceError("ValidationException", "The NextToken is not one that this service returned.") from None


# An operation takes the state and its parameters, which fit the input shape, and returns the members of its result.
Operation: TypeAlias = "Callable[[ServiceState, Mapping[str, Any]], Mapping[str, Any] | None]"
