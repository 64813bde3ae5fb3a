"""Processing jobs as clients see them, with the jobs of rules among them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from clearsight_sagemaker.resources.job_kind import JobKind
from clearsight_sagemaker.state.service_state import PROCESSING_JOB
from tests.sagemaker.local_service import WAIT_SECONDS, LocalService, local_service
from tests.sagemaker.processing.conftest import processing_request

ENDED = ("Completed", "Failed", "Stopped")


def create(service: LocalService, name: str, script: str = "complete", **members: Any) -> dict[str, Any]:
    request = processing_request(name, Environment={"script": script}, **members)
    request["AppSpecification"] = {**request["AppSpecification"], "ContainerEntrypoint": ["python3", "sort.py"]}
    return service.call("CreateProcessingJob", **request)


def ended(service: LocalService, name: str) -> dict[str, Any]:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        found = service.call("DescribeProcessingJob", ProcessingJobName=name)
        if found["ProcessingJobStatus"] in ENDED:
            return found
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_job_from_creation_to_deletion(service: LocalService) -> None:
    arn = create(service, "sort-1", Tags=[{"Key": "team", "Value": "dogs"}])["ProcessingJobArn"]
    assert arn.endswith(":processing-job/sort-1")
    found = ended(service, "sort-1")
    assert (found["ProcessingJobStatus"], found["ExitMessage"]) == ("Completed", "3 epochs")
    assert found["StoppingCondition"] == {"MaxRuntimeInSeconds": 60}
    assert found["ProcessingStartTime"] <= found["ProcessingEndTime"]
    assert "ProcessingInputs" not in found, "SDK v3 accepts no empty structures"
    assert service.call("ListTags", ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "dogs"}]
    [stream] = service.call(
        "DescribeLogStreams", "logs", logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix="sort-1/"
    )["logStreams"]
    assert stream["logStreamName"].startswith("sort-1/algo-1-")
    code, text = service.error("CreateProcessingJob", **service_request("sort-1"))
    assert (code, "Job name must be unique" in text) == ("ResourceInUse", True)
    assert "in status Completed" in service.error("StopProcessingJob", ProcessingJobName="sort-1")[1]
    service.call("DeleteProcessingJob", ProcessingJobName="sort-1")
    error = service.error("DescribeProcessingJob", ProcessingJobName="sort-1")
    assert error == ("ValidationException", "Could not find requested job with name: sort-1")


def service_request(name: str, **members: Any) -> dict[str, Any]:
    request = processing_request(name, **members)
    request["AppSpecification"] = {"ContainerEntrypoint": ["true"], **request["AppSpecification"]}
    return request


def test_a_job_that_fails_and_one_that_is_stopped(service: LocalService) -> None:
    create(service, "fail-1", "fail")
    create(service, "wait-1", "wait")
    assert ended(service, "fail-1")["FailureReason"].startswith("AlgorithmError")
    service.call("StopProcessingJob", ProcessingJobName="wait-1")
    assert ended(service, "wait-1")["ProcessingJobStatus"] == "Stopped"
    [summary] = service.call("ListProcessingJobs", StatusEquals="Failed")["ProcessingJobSummaries"]
    assert (summary["ProcessingJobName"], summary["FailureReason"][:14]) == ("fail-1", "AlgorithmError")


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"AppSpecification": {"ImageUri": "1.dkr.ecr.amazonaws.com/xgboost:1.7"}}, "and xgboost is none"),
        ({"AppSpecification": {"ImageUri": "1.dkr.ecr.amazonaws.com/pytorch-training:2.5"}}, "no ContainerEntrypoint"),
        ({"ProcessingInputs": [{"InputName": "a", "DatasetDefinition": {}}]}, "has a DatasetDefinition"),
        (
            {
                "ProcessingInputs": [
                    {"InputName": "a", "S3Input": {"S3Uri": "s3://b/c", "S3DataType": "S3Prefix", "LocalPath": "/etc"}}
                ]
            },
            "must be a path below /opt/ml/processing/",
        ),
        (
            {
                "ProcessingOutputConfig": {
                    "Outputs": [{"OutputName": "a", "FeatureStoreOutput": {"FeatureGroupName": "dogs"}}]
                }
            },
            "has a FeatureStoreOutput",
        ),
        ({"ProcessingResources": {"ClusterConfig": {"VolumeSizeInGB": 1}}}, "InstanceType and InstanceCount"),
    ],
)
def test_requests_that_cannot_become_jobs(service: LocalService, members: dict[str, Any], sentence: str) -> None:
    code, text = service.error("CreateProcessingJob", **{**service_request("bad"), **members})
    assert code == "ValidationException"
    assert sentence in text


def test_jobs_of_rules_are_processing_jobs(service: LocalService) -> None:
    rule = {
        "RuleConfigurationName": "LossNotDecreasing",
        "RuleEvaluatorImage": "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest",
        "RuleParameters": {"rule_to_invoke": "LossNotDecreasing"},
    }
    service.create_job("ruled", DebugRuleConfigurations=[rule])
    [status] = service.ended_job("ruled")["DebugRuleEvaluationStatuses"]
    name = status["RuleEvaluationJobArn"].rpartition("/")[2]
    found = service.call("DescribeProcessingJob", ProcessingJobName=name)
    assert (found["ProcessingJobStatus"], found["TrainingJobArn"][-5:]) == ("Completed", "ruled")
    create(service, "rule-less")
    pages, token = [], {}
    while True:
        page = service.call("ListProcessingJobs", NameContains="rule", MaxResults=1, SortBy="Name", **token)
        pages += [summary["ProcessingJobName"] for summary in page["ProcessingJobSummaries"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert pages == sorted([name, "rule-less"], reverse=True)
    assert service.error("ListProcessingJobs", NextToken="x")[0] == "ValidationException"


def test_a_creation_that_was_cut_short_is_completed_at_the_next_start(tmp_path: Path) -> None:
    kind = JobKind(PROCESSING_JOB, "ProcessingJobName")
    with local_service(tmp_path) as service, pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobKind, "_complete_creation", lambda *_: None)  # the service is killed here
        kind.create(service.state, service_request("cut", Environment={"script": "complete"}))
    with local_service(tmp_path) as service:
        assert ended(service, "cut")["ProcessingJobStatus"] == "Completed"
