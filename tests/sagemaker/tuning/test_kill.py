"""The process of the service is killed while a tuning job runs: the next one goes on with it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearsight_sagemaker.state.home import ServiceHome
from tests.sagemaker.service_process import ServiceProcess, end_processes
from tests.sagemaker.tuning.tuning_requests import tuning_request

SECONDS, JOBS = 120.0, 5
NAME = {"HyperParameterTuningJobName": "hpo"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[ServiceHome]:
    home = ServiceHome(tmp_path / "home")
    yield home
    end_processes(home)


def test_a_kill_at_a_random_moment(home: ServiceHome) -> None:
    moments = random.Random(4)
    service = ServiceProcess(home)
    request = tuning_request("hpo", jobs=JOBS, Strategy="Bayesian")
    request["TrainingJobDefinition"]["StaticHyperParameters"] |= {"pause": "0.1"}
    service.client.create_hyper_parameter_tuning_job(**request)
    time.sleep(moments.uniform(0.5, 1.5))  # a random moment: what is tested is any of them
    service.kill()
    service = ServiceProcess(home)
    end = time.monotonic() + SECONDS
    while (found := service.client.describe_hyper_parameter_tuning_job(**NAME))[
        "HyperParameterTuningJobStatus"
    ] != "Completed":
        assert time.monotonic() < end, found["TrainingJobStatusCounters"]
    assert found["TrainingJobStatusCounters"]["Completed"] == found["ObjectiveStatusCounters"]["Succeeded"] == JOBS
    listed = service.client.list_training_jobs_for_hyper_parameter_tuning_job(**NAME, SortBy="Name", MaxResults=100)
    children = listed["TrainingJobSummaries"]
    assert [child["TrainingJobName"][:7] for child in children] == [
        f"hpo-{number:03d}" for number in range(1, JOBS + 1)
    ]
    for child in children:
        value = child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        assert value == pytest.approx(float(child["TunedHyperParameters"]["x"]) + 1 / 3)
    jobs = service.client.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    assert {job["TrainingJobName"] for job in jobs} == {child["TrainingJobName"] for child in children}
    assert len(jobs) == JOBS
    service.kill()
