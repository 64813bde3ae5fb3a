"""A job folder, an object store beside it, and a script that a test writes down."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.s3.store import Content, ObjectStore
from clearsight_sagemaker.training.environment import UserEnvironment
from clearsight_sagemaker.training.job import run_job
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport, namespace_support

BUCKET = "photos"


@dataclass
class JobRun:
    """A job in a folder of a test. request: as the service has validated it."""

    folder: Path
    store: ObjectStore
    support: NamespaceSupport
    request: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    weights: tuple[Path, ...] = ()
    job_environment: dict[str, str] = field(default_factory=dict)
    endpoint_url: str = "http://127.0.0.1:9"

    def put(self, key: str, body: bytes) -> str:
        """Make an object and return its address."""
        with self.store.new_file(BUCKET) as file:
            file.write(body)
            self.store.put(BUCKET, key, file, Content(), hashlib.md5(body, usedforsecurity=False).hexdigest(), {})
        return f"s3://{BUCKET}/{key}"

    def get(self, key: str) -> bytes:
        with self.store.opened(BUCKET, key) as (_, file):
            return file.read()

    def has(self, key: str) -> bool:
        try:
            self.store.head(BUCKET, key)
        except S3Error:
            return False
        return True

    def keys(self, prefix: str = "") -> list[str]:
        return [stored.key for stored in self.store.after(BUCKET, prefix, "", 1000)]

    def archive(self, key: str) -> dict[str, bytes]:
        """Return the members of a tar.gz by name."""
        with tarfile.open(fileobj=io.BytesIO(self.get(key))) as members:
            return {member.name: members.extractfile(member).read() for member in members}  # type: ignore[union-attr]

    def code(self, script: str, files: Mapping[str, str] | None = None, program: str = "train.py") -> None:
        """Give the job its code, as the SDK uploads it."""
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w:gz") as archive:
            for name, text in {program: script, **(files or {})}.items():
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        uri = self.put(f"job-1/source/{len(self.keys())}.tar.gz", body.getvalue())
        self.request["HyperParameters"] |= {
            "sagemaker_program": json.dumps(program),
            "sagemaker_submit_directory": json.dumps(uri),
        }

    def channel(self, name: str, uri: str, **values: Any) -> None:
        source = {"S3DataType": values.pop("S3DataType", "S3Prefix"), "S3Uri": uri, **values.pop("source", {})}
        self.request["InputDataConfig"] = [
            *self.request.get("InputDataConfig", []),
            {"ChannelName": name, "DataSource": {"S3DataSource": source}, **values},
        ]

    def write(self) -> None:
        """Write the files that the service writes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "request.json").write_text(json.dumps(self.request))
        service = {
            "region": "us-east-1",
            "account": "123456789012",
            "role": "arn:aws:iam::123456789012:role/clearsight",
            "bucket": BUCKET,
            "endpoint_url": self.endpoint_url,
            "objects": str(self.store.folder),
            "home": str(self.folder.parent / "home"),
            "access_key": "access",
            "secret_key": "secret",
            "job_environment": self.job_environment,
        }
        (self.folder / "service.json").write_text(json.dumps(service))

    def run(self, *, stop_seconds: float = 5.0) -> str:
        """Run the job in this process and return its status."""
        self.write()
        user = UserEnvironment(variables={"PATH": os.environ["PATH"], **self.variables}, weights=self.weights)
        return run_job(self.folder, user, stop_seconds=stop_seconds, support=self.support)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]

    @property
    def statuses(self) -> list[str]:
        return [event["secondary"] for event in self.events if event["kind"] == "status"]

    @property
    def reason(self) -> str:
        return next(event["reason"] for event in self.events if event["kind"] == "failed")

    @property
    def log(self) -> list[str]:
        """Return the lines of the log without their times."""
        return [line.partition(" ")[2] for line in (self.folder / "log.txt").read_text().split("\n")[:-1]]


@pytest.fixture(scope="session")
def machine_support(tmp_path_factory: pytest.TempPathFactory) -> NamespaceSupport:
    return namespace_support(tmp_path_factory.mktemp("namespaces"))


@pytest.fixture
def job_in(tmp_path: Path) -> Iterator[Callable[[NamespaceSupport], JobRun]]:
    """Return a function that makes a job for a way of showing /opt/ml."""
    store = ObjectStore(tmp_path / "objects")
    store.create_bucket(BUCKET)

    def make(support: NamespaceSupport) -> JobRun:
        request = {
            "TrainingJobName": "job-1",
            "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "pytorch-training:1.9-cpu-py38"},
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "HyperParameters": {},
        }
        return JobRun(tmp_path / "jobs" / "job-1", store, support, request)

    yield make
    store.close()


@pytest.fixture
def job(job_in: Callable[[NamespaceSupport], JobRun], machine_support: NamespaceSupport) -> JobRun:
    """Return a job with the best way of this machine."""
    return job_in(machine_support)


@pytest.fixture
def private_job(job: JobRun) -> JobRun:
    """Return a job with an /opt/ml of its own."""
    if not job.support.no_network:
        pytest.skip(f"no namespaces on this machine: {job.support.reason}")
    return job
