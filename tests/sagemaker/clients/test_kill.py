"""The service is killed while a client waits for its job: the job and the client go on."""

from __future__ import annotations

import json
import random
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

script, name = sys.argv[1:]
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
print(json.dumps({"status": found["TrainingJobStatus"], "members": members, "statuses": statuses}))
"""


def killed_while_waiting(real: RealService, tmp_path: Path, name: str, kills: list[float]) -> dict[str, object]:
    """Kill the service once for each pause while a client waits; return what the client found at the end."""
    mark, script = tmp_path / f"{name}.mark", tmp_path / "train.py"
    script.write_text(WAITING.format(mark=str(mark)))
    with real.clients.popen("python", "-c", SUBMIT, str(script), name) as client:
        assert client.stdout is not None
        while "CREATED" not in client.stdout.readline():
            assert client.poll() is None, client.stderr.read() if client.stderr else ""
        for pause in kills:
            time.sleep(pause)  # a random moment: what is tested is any of them
            real.kill()
            real.wait_for_answer()  # its supervisor starts it again
        mark.touch()
        output, errors = client.communicate(timeout=120)
    assert client.returncode == 0, output + errors
    return json.loads(output.splitlines()[-1])  # type: ignore[no-any-return]


def test_a_client_that_waits_gets_the_end_of_its_job_after_a_kill(real: RealService, tmp_path: Path) -> None:
    found = killed_while_waiting(real, tmp_path, "killed-once", [0.2])
    assert found["status"] == "Completed"
    assert found["members"] == ["model.txt"]
    assert found["statuses"] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]


@pytest.mark.slow
def test_20_kills_at_random_moments(real: RealService, tmp_path: Path) -> None:
    moments = random.Random(5)
    for number in range(10):
        kills = [moments.uniform(0, 0.5) for _ in range(2)]
        found = killed_while_waiting(real, tmp_path, f"killed-{number}", kills)
        assert (found["status"], found["members"]) == ("Completed", ["model.txt"])
        real.stop()  # the supervisor waits longer before each restart: a new start counts from the beginning
        real.start()


def test_a_start_after_a_kill_of_all_finds_the_jobs(real: RealService, tmp_path: Path) -> None:
    mark, script = tmp_path / "mark", tmp_path / "train.py"
    script.write_text(WAITING.format(mark=str(mark)))
    client = real.clients.popen("python", "-c", SUBMIT, str(script), "killed-with-supervisor")
    assert client.stdout is not None
    while "CREATED" not in client.stdout.readline():
        assert client.poll() is None
    real.kill_supervisor()
    real.kill()
    real.start()
    mark.touch()
    output, errors = client.communicate(timeout=120)
    assert client.returncode == 0, output + errors
    assert json.loads(output.splitlines()[-1])["status"] == "Completed"
