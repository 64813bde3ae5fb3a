"""A service in the process of the test, and the requests that clients send to it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.validate import ParamValidator
from starlette.testclient import TestClient

from clearsight.jobs import client
from clearsight.jobs.store import JobStore
from clearsight_sagemaker.protocols.service_models import SERVICES, service_model
from clearsight_sagemaker.protocols.validation import known_members
from clearsight_sagemaker.s3.store import ObjectStore
from clearsight_sagemaker.service.app import ServiceApp
from clearsight_sagemaker.service.server import ServiceOptions, service_state
from clearsight_sagemaker.state.home import ServiceHome
from clearsight_sagemaker.state.service_state import ServiceState

FAKE_JOB = (sys.executable, str(Path(__file__).with_name("fake_job.py")))
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.9-gpu-py38"
WAIT_SECONDS = 120.0  # a slow machine that runs other tests too


class LocalService:
    """A service and a client of it. Every result is checked against botocore's shape of the output."""

    def __init__(self, state: ServiceState, client: TestClient) -> None:
        self.state, self.client = state, client

    def call(self, operation: str, service: str = "sagemaker", **parameters: Any) -> dict[str, Any]:
        """Return the result of an operation; raises AssertionError for an error or a result of another shape."""
        response = self.send(operation, service, **parameters)
        assert response.status_code == 200, response.text
        assert response.headers["x-amzn-requestid"]
        result = response.json() if response.content else {}
        shape = service_model(service).operation_model(operation).output_shape
        if shape is not None:
            report = ParamValidator().validate(result, shape)
            assert not report.has_errors(), report.generate_report()
            assert known_members(result, shape) == result or operation.startswith("Describe")
        return result

    def error(self, operation: str, service: str = "sagemaker", **parameters: Any) -> tuple[str, str]:
        """Return code and message of the error that an operation ends with."""
        response = self.send(operation, service, **parameters)
        assert response.status_code == 400, response.text
        return response.json()["__type"], response.json()["Message"]

    def send(self, operation: str, service: str = "sagemaker", **parameters: Any) -> Any:
        """Return the response to a JSON request."""
        target = next(known.target for known in SERVICES if known.name == service)
        headers = {"X-Amz-Target": f"{target}.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        return self.client.post("/", content=json.dumps(parameters), headers=headers)

    def query(self, action: str, version: str, **fields: str) -> Any:
        """Return the response to a form."""
        return self.client.post("/", data={"Action": action, "Version": version, **fields})

    def put(self, address: str, body: bytes = b"") -> str:
        """Make an object and its bucket, and return its address."""
        path = address.removeprefix("s3:/")
        for part in ("/".join(path.split("/")[:2]), path):
            assert self.client.put(part, content=body if part == path else b"").status_code == 200
        return address

    def create_job(self, name: str, **members: Any) -> dict[str, Any]:
        """Create a training job."""
        return self.call("CreateTrainingJob", **job_request(name, **members))

    def ended_job(self, name: str) -> dict[str, Any]:
        """Return the description of a job once it has ended."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            found = self.call("DescribeTrainingJob", TrainingJobName=name)
            if found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"):
                return found
            assert time.monotonic() < end, f"{name} is still {found['SecondaryStatus']}"
            time.sleep(0.01)  # the threads of the service need the processor


def job_request(name: str, **members: Any) -> dict[str, Any]:
    """Return a CreateTrainingJob request."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "EnableSageMakerMetricsTimeSeries": True,
        },
        "RoleArn": "arn:aws:iam::111122223333:role/service-role/Trainer",
        "OutputDataConfig": {"S3OutputPath": "s3://dogs/models/"},
        "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **members,
    }


@contextmanager
def local_service(
    home: Path, *, max_jobs: int = 2, require_signature: bool = False, strict_endpoints: bool = False
) -> Iterator[LocalService]:
    """Yield a service with a home."""
    options = ServiceOptions(
        home=home,
        max_jobs=max_jobs,
        job_command=FAKE_JOB,
        processing_command=FAKE_JOB,
        transform_command=FAKE_JOB,
        job_environment={"WANDB_MODE": "offline"},
        strict_endpoints=strict_endpoints,
    )
    environment = {"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "SECRET": "x", "CLEARSIGHT_JOB": "token"}
    if sources := os.environ.get("PYTHONPATH"):  # of a checkout that is not the installed one
        environment["PYTHONPATH"] = sources
    try:
        with service_state(options, "http://127.0.0.1:1", environment) as state:
            store = ObjectStore(state.home.objects)
            try:
                with TestClient(ServiceApp(state, store, require_signature=require_signature)) as client:
                    yield LocalService(state, client)
            finally:
                store.close()
    finally:
        _end_supervisor(ServiceHome(home))  # last: the queues would start another one


def _end_supervisor(home: ServiceHome) -> None:
    """End the process, a child of this one, that would otherwise wait some seconds for further jobs."""
    if not home.processes.is_dir():
        return
    store = JobStore(home.processes)
    identity = store.supervisor
    store.close()
    for supervisor in client._supervisors:
        if supervisor.pid == identity.get("pid"):
            supervisor.terminate()
            supervisor.wait()
