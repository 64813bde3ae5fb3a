"""A processing job in a folder, with an object store beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clearsight_sagemaker.processing.job import run_processing_job
from clearsight_sagemaker.s3.store import ObjectStore
from clearsight_sagemaker.training.environment import UserEnvironment
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport, namespace_support
from tests.sagemaker.training.conftest import BUCKET, JobRun

__all__ = ["BUCKET"]


@dataclass
class ProcessingRun(JobRun):
    """A processing job in a folder of a test."""

    def input(self, name: str, uri: str, **source: Any) -> None:
        """Add an input, which is downloaded to /opt/ml/processing/input/NAME."""
        values = {"S3DataType": "S3Prefix", "S3InputMode": "File", "LocalPath": f"/opt/ml/processing/input/{name}"}
        entry = {"InputName": name, "S3Input": {"S3Uri": uri, **values, **source}}
        self.request["ProcessingInputs"] = [*self.request.get("ProcessingInputs", []), entry]

    def output(self, name: str, mode: str = "EndOfJob") -> str:
        """Add an output, which is uploaded from /opt/ml/processing/NAME; return its key."""
        source = {"S3Uri": f"s3://{BUCKET}/results/{name}", "LocalPath": f"/opt/ml/processing/{name}"}
        entry = {"OutputName": name, "S3Output": {**source, "S3UploadMode": mode}}
        outputs = self.request.setdefault("ProcessingOutputConfig", {"Outputs": []})["Outputs"]
        outputs.append(entry)
        return f"results/{name}"

    def command(self, *words: str) -> None:
        self.request["AppSpecification"]["ContainerEntrypoint"] = list(words)

    def run(self, *, stop_seconds: float = 5.0) -> str:
        self.write()
        user = UserEnvironment(variables={"PATH": os.environ["PATH"], **self.variables}, weights=self.weights)
        return run_processing_job(self.folder, user, stop_seconds=stop_seconds, support=self.support)


def processing_request(name: str, **members: Any) -> dict[str, Any]:
    """Return a CreateProcessingJob request without inputs and outputs."""
    return {
        "ProcessingJobName": name,
        "AppSpecification": {"ImageUri": "246618743249.dkr.ecr.us-west-2.amazonaws.com/sagemaker-scikit-learn:1.2-1"},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
        },
        "RoleArn": "arn:aws:iam::111122223333:role/Processor",
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **members,
    }


@pytest.fixture(scope="session")
def machine_support(tmp_path_factory: pytest.TempPathFactory) -> NamespaceSupport:
    return namespace_support(tmp_path_factory.mktemp("namespaces"))


@pytest.fixture
def job(tmp_path: Path, machine_support: NamespaceSupport) -> Iterator[ProcessingRun]:
    """Return a job with an /opt/ml of its own."""
    if not machine_support.no_network:
        pytest.skip(f"no namespaces on this machine: {machine_support.reason}")
    store = ObjectStore(tmp_path / "objects")
    store.create_bucket(BUCKET)
    yield ProcessingRun(tmp_path / "jobs" / "sort", store, machine_support, processing_request("sort"))
    store.close()
