"""The process of the service is killed while a tuning job runs: the next one goes on with it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.session import Session

from clearsight.core.machine import process_ended
from clearsight.jobs.store import JobStore
from clearsight_sagemaker.service.lifecycle import running_url
from clearsight_sagemaker.state.home import ServiceHome
from tests.sagemaker.tuning.tuning_requests import tuning_request

SECONDS, JOBS = 60.0, 5
NAME = {"HyperParameterTuningJobName": "hpo"}


class ServiceProcess:
    """A service whose jobs train nothing, and a client of it."""

    def __init__(self, home: ServiceHome) -> None:
        self._home = home
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sagemaker.clients.fake_service", str(home.folder)]
        )
        end = time.monotonic() + SECONDS
        while not (url := running_url(home)):
            assert time.monotonic() < end
            assert self._process.poll() is None
        self.client: Any = Session().create_client(
            "sagemaker",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"max_attempts": 0}),
        )

    def tuning_job(self) -> dict[str, Any]:
        """Return the description of the tuning job."""
        return dict(self.client.describe_hyper_parameter_tuning_job(**NAME))

    def kill(self) -> None:
        """Kill it as the kernel does."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[ServiceHome]:
    home = ServiceHome(tmp_path / "home")
    yield home
    store = JobStore(home.processes)
    identity = store.supervisor
    store.close()
    if identity and not process_ended(identity):
        os.kill(identity["pid"], 15)


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
