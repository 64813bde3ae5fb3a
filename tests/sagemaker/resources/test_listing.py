"""ListTrainingJobs: filters, orders and pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import TRAINING_JOB
from tests.sagemaker.local_service import LocalService, job_request, local_service

STATUSES = ("Completed", "Failed", "Stopped")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service with 25 jobs that have ended: job-00 of second 1000, job-01 of second 1001, ..."""
    home: Path = tmp_path_factory.mktemp("home")
    with local_service(home) as service:
        for number in range(25):
            name = f"job-{number:02d}"
            document = {
                "request": job_request(name),
                "arn": service.state.account.arn(TRAINING_JOB, name),
                "state": {"secondary": STATUSES[number % 3], "ended": 2000.0 + number},
            }
            service.state.table.add(
                Resource(
                    kind=TRAINING_JOB,
                    name=name,
                    status=STATUSES[number % 3],
                    document=document,
                    created=1000.0 + number,
                    modified=2000.0 + number,
                )
            )
        yield service


def names(service: LocalService, **parameters: Any) -> list[str]:
    found = service.call("ListTrainingJobs", **{"MaxResults": 100, **parameters})
    return [job["TrainingJobName"] for job in found["TrainingJobSummaries"]]


def test_the_newest_come_first(service: LocalService) -> None:
    found = service.call("ListTrainingJobs")
    assert [job["TrainingJobName"] for job in found["TrainingJobSummaries"]] == [f"job-{n}" for n in range(24, 14, -1)]
    first = found["TrainingJobSummaries"][0]
    assert (first["CreationTime"], first["TrainingEndTime"], first["LastModifiedTime"]) == (1024.0, 2024.0, 2024.0)


@pytest.mark.parametrize("sort_by", ["Name", "CreationTime", "Status"])
@pytest.mark.parametrize("order", ["Ascending", "Descending"])
def test_pages_hold_every_job_once(service: LocalService, sort_by: str, order: str) -> None:
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = service.call("ListTrainingJobs", MaxResults=7, SortBy=sort_by, SortOrder=order, **token)
        found += page["TrainingJobSummaries"]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    key = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}[sort_by]
    assert len({job["TrainingJobName"] for job in found}) == len(found) == 25
    values = [job[key] for job in found]
    assert values == sorted(values, reverse=order == "Descending")


def test_filters(service: LocalService) -> None:
    assert names(service, NameContains="job-1", SortBy="Name", SortOrder="Ascending")[:2] == ["job-10", "job-11"]
    assert len(names(service, StatusEquals="Failed")) == 8
    assert names(service, CreationTimeAfter=1023, LastModifiedTimeBefore=2023) == ["job-23"]
    assert names(service, CreationTimeBefore="1970-01-01T00:16:41Z") == ["job-01", "job-00"]
    assert names(service, WarmPoolStatusEquals="InUse") == []


def test_a_token_of_somebody_else(service: LocalService) -> None:
    code, message = service.error("ListTrainingJobs", NextToken="WyJ4Il0=")
    assert (code, message) == ("ValidationException", "The NextToken is not one that this service returned.")
