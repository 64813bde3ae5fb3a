"""The service is killed while a client waits for its job: the job and the client go on."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.sagemaker.clients.conftest import RealService

# It goes on when the test has killed the service, and leaves a model.
WAITING = """
import os, time
while not os.path.exists({mark!r}):
    time.sleep(0.02)
print("the service was killed")
with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.txt"), "w") as file:
    file.write("whole")
"""
SUBMIT = """
import io, json, sys, tarfile
import boto3, sagemaker
from sagemaker.pytorch import PyTorch

for line in sys.stdin:
    script, name = line.split()
    estimator = PyTorch(
        entry_point=script, role=sagemaker.get_execution_role(), framework_version="1.9", py_version="py38",
        instance_count=1, instance_type="ml.m5.large", debugger_hook_config=False, disable_profiler=True,
    )
    estimator.fit(wait=False, job_name=name)
    print("CREATED", flush=True)
    estimator.latest_training_job.wait(logs=None)
    sagemaker_client = boto3.client("sagemaker")
    found = sagemaker_client.describe_training_job(TrainingJobName=name)
    bucket, _, key = found["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    members = tarfile.open(fileobj=io.BytesIO(body)).getnames()
    statuses = [item["Status"] for item in found["SecondaryStatusTransitions"]]
    end = {"status": found["TrainingJobStatus"], "members": members, "statuses": statuses}
    print("END", json.dumps(end), flush=True)
"""


class WaitingClient:
    """A program with the SDK that starts a job, waits for its end and tells what it found, job after job."""

    def __init__(self, real: RealService, folder: Path) -> None:
        self._folder, self._errors = folder, (folder / "stderr.txt").open("w")
        self._process = real.clients.popen("python", "-c", SUBMIT, stdin=subprocess.PIPE, stderr=self._errors)
        self._mark = folder / "none.mark"

    def __enter__(self) -> WaitingClient:
        return self

    def __exit__(self, *reason: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def start_job(self, name: str) -> None:
        """Start a job that trains until `end_job`; return when it is created."""
        self._mark, script = self._folder / f"{name}.mark", self._folder / f"{name}.py"
        script.write_text(WAITING.format(mark=str(self._mark)))
        assert self._process.stdin is not None
        self._process.stdin.write(f"{script} {name}\n")
        self._process.stdin.flush()
        self._line("CREATED")

    def end_job(self) -> dict[str, object]:
        """Let the job end; return what the client found."""
        self._mark.touch()
        return json.loads(self._line("END"))  # type: ignore[no-any-return]

    def _line(self, word: str) -> str:
        assert self._process.stdout is not None
        others = []
        for line in self._process.stdout:
            if line.startswith(word):
                return line.removeprefix(word)
            others.append(line)
        raise AssertionError("".join(others) + (self._folder / "stderr.txt").read_text())


def kill_at(real: RealService, pauses: list[float]) -> None:
    """Kill the service after each of the pauses, once it answers again."""
    for pause in pauses:
        time.sleep(pause)  # a random moment: what is tested is any of them
        real.kill()
        real.wait_for_answer()  # its supervisor starts it again


def test_a_client_that_waits_gets_the_end_of_its_job_after_a_kill(real: RealService, tmp_path: Path) -> None:
    with WaitingClient(real, tmp_path) as client:
        client.start_job("killed-once")
        kill_at(real, [0.2])
        found = client.end_job()
    assert found["status"] == "Completed"
    assert found["members"] == ["model.txt"]
    assert found["statuses"] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]


@pytest.mark.slow
def test_a_client_waits_through_kills_at_random_moments(real: RealService, tmp_path: Path) -> None:
    moments = random.Random(5)
    with WaitingClient(real, tmp_path) as client:
        for number in range(4):
            client.start_job(f"killed-{number}")
            kill_at(real, [moments.uniform(0, 0.5) for _ in range(3)])
            found = client.end_job()
            assert (found["status"], found["members"]) == ("Completed", ["model.txt"])
            real.stop()  # the supervisor waits longer before each restart: a new start counts from the beginning
            real.start()


def test_a_start_after_a_kill_of_all_finds_the_jobs(real: RealService, tmp_path: Path) -> None:
    with WaitingClient(real, tmp_path) as client:
        client.start_job("killed-with-supervisor")
        real.kill_supervisor()
        real.kill()
        real.start()
        assert client.end_job()["status"] == "Completed"
