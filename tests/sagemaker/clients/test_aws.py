"""awscli against the service."""

from __future__ import annotations

import json

import pytest

from tests.sagemaker.clients.conftest import Clients
from tests.sagemaker.local_service import job_request


@pytest.fixture(scope="module")
def jobs(clients: Clients) -> list[str]:
    """Names of three jobs that have completed."""
    names = [f"dogs-{number}" for number in range(3)]
    for name in names:
        request = json.dumps(job_request(name, HyperParameters={"epochs": "3"}))
        clients.aws("sagemaker", "create-training-job", "--cli-input-json", request)
    for name in names:
        clients.run(
            "python",
            "-c",
            "import boto3, sys; boto3.client('sagemaker').get_waiter('training_job_completed_or_stopped').wait("
            "TrainingJobName=sys.argv[1], WaiterConfig={'Delay': 1})",
            name,
        )
    return names


def test_the_caller(clients: Clients) -> None:
    assert clients.aws("sts", "get-caller-identity")["Account"] == "000000000000"
    assert clients.aws("iam", "get-role", "--role-name", "clearsight")["Role"]["RoleName"] == "clearsight"


def test_pages_of_jobs(clients: Clients, jobs: list[str]) -> None:
    words = ("sagemaker", "list-training-jobs", "--page-size", "2", "--sort-by", "Name", "--sort-order", "Ascending")
    found = clients.aws(*words, "--name-contains", "dogs")
    assert [job["TrainingJobName"] for job in found["TrainingJobSummaries"]] == jobs


def test_a_job(clients: Clients, jobs: list[str]) -> None:
    found = clients.aws("sagemaker", "describe-training-job", "--training-job-name", jobs[0])
    assert found["TrainingJobStatus"] == "Completed"
    assert float(found["TrainingStartTime"]) > 0


def test_the_log_of_a_job(clients: Clients, jobs: list[str]) -> None:
    group = ("--log-group-name", "/aws/sagemaker/TrainingJobs")
    [stream] = clients.aws("logs", "describe-log-streams", *group, "--log-stream-name-prefix", f"{jobs[0]}/")[
        "logStreams"
    ]
    found = clients.aws("logs", "get-log-events", *group, "--log-stream-name", stream["logStreamName"])
    assert next(event["message"] for event in found["events"]) == "epoch 0 loss=1.000"
    found = clients.aws("logs", "filter-log-events", *group, "--filter-pattern", "loss=0.333", "--page-size", "2")
    assert len(found["events"]) == 3


def test_the_metrics_of_a_job(clients: Clients, jobs: list[str]) -> None:
    words = (
        "cloudwatch",
        "get-metric-statistics",
        "--namespace",
        "/aws/sagemaker/TrainingJobs",
        "--metric-name",
        "loss",
    )
    times = ("--start-time", "2026-01-01T00:00:00Z", "--end-time", "2030-01-01T00:00:00Z", "--period", "864000")
    dimension = f"Name=TrainingJobName,Value={jobs[0]}"
    found = clients.aws(*words, *times, "--statistics", "Maximum", "--dimensions", dimension)
    assert found["Datapoints"][0]["Maximum"] == 1.0


def test_files_in_a_bucket(clients: Clients) -> None:
    (clients.work / "photos").mkdir()
    for number in range(3):
        (clients.work / "photos" / f"{number}.txt").write_text("x" * number)
    clients.run("aws", "s3", "mb", "s3://photos")
    clients.run("aws", "s3", "cp", "photos", "s3://photos/all", "--recursive", "--quiet")
    assert clients.run("aws", "s3", "ls", "s3://photos", "--recursive").count("\n") == 3
    assert clients.run("aws", "s3", "ls", "s3://photos/all/", "--no-sign-request").count("\n") == 3
