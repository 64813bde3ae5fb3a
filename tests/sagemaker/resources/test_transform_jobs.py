"""Batch transform jobs as clients see them, and the page of a job."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from clearsight_sagemaker.state.service_state import TRANSFORM_JOB
from tests.sagemaker.hosting.model_folder import IMAGE
from tests.sagemaker.local_service import WAIT_SECONDS, LocalService
from tests.sagemaker.transform.test_job import transform_request

BROWSER = {"Accept": "text/html"}


@pytest.fixture(scope="module", autouse=True)
def model(service: LocalService) -> None:
    data = service.put("s3://models/size.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": data, "Environment": {"COLOUR": "grey"}}
    role = "arn:aws:iam::111122223333:role/Transformer"
    service.call("CreateModel", ModelName="size", PrimaryContainer=container, ExecutionRoleArn=role)


def ended(service: LocalService, name: str) -> dict[str, Any]:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        found = service.call("DescribeTransformJob", TransformJobName=name)
        if found["TransformJobStatus"] in ("Completed", "Failed", "Stopped"):
            return found
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_job_has_the_model_of_its_creation(service: LocalService) -> None:
    arn = service.call("CreateTransformJob", **transform_request("sizes-1"))["TransformJobArn"]
    assert arn.endswith(":transform-job/sizes-1")
    found = ended(service, "sizes-1")
    assert found["TransformJobStatus"] == "Completed"
    assert found["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    assert (found["TransformInput"]["SplitType"], found["TransformOutput"]["AssembleWith"]) == ("None", "None")
    facts = json.loads((service.state.queues[TRANSFORM_JOB].folder("sizes-1").path / "service.json").read_text())
    assert facts["model"]["PrimaryContainer"]["Environment"] == {"COLOUR": "grey"}
    group = "/aws/sagemaker/TransformJobs"
    [stream] = service.call("DescribeLogStreams", "logs", logGroupName=group, logStreamNamePrefix="sizes-1/")[
        "logStreams"
    ]
    assert stream["logStreamName"].startswith("sizes-1/")
    code, text = service.error("CreateTransformJob", **transform_request("sizes-1"))
    assert (code, "already exists" in text) == ("ResourceInUse", True)


def test_stopping_listing_and_pages(service: LocalService) -> None:
    for name, script in (("fails", "fail"), ("waits", "wait")):
        service.call("CreateTransformJob", **transform_request(name, Environment={"script": script}))
    assert ended(service, "fails")["FailureReason"].startswith("AlgorithmError")
    assert 'href="/_clearsight/transform-jobs/waits"' in service.client.get("/", headers=BROWSER).text
    page = "/_clearsight/transform-jobs/waits"
    assert "Stop the job" in service.client.get(page, headers=BROWSER).text
    assert service.client.post(f"{page}/stop", headers=BROWSER).status_code == 200
    assert ended(service, "waits")["TransformJobStatus"] == "Stopped"
    shown = service.client.get(page, headers=BROWSER).text
    for text in ("Stopped", "epoch 2 loss=0.333", "/_clearsight/buckets/photos?prefix=out/", "size"):
        assert text in shown
    assert "epoch 0" in service.client.get(f"{page}/log").text
    assert service.client.get("/_clearsight/processing-jobs/waits", headers=BROWSER).status_code == 404
    [summary] = service.call("ListTransformJobs", StatusEquals="Failed")["TransformJobSummaries"]
    assert (summary["TransformJobName"], summary["FailureReason"][:14]) == ("fails", "AlgorithmError")
    assert "in status Stopped" in service.error("StopTransformJob", TransformJobName="waits")[1]


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"ModelName": "nothing"}, 'Could not find model "arn:aws:sagemaker:'),
        ({"MaxPayloadInMB": 101}, "MaxPayloadInMB 101 cannot be greater than 100 MB."),
        ({"MaxPayloadInMB": 26, "MaxConcurrentTransforms": 4}, "cannot exceed 100 MB"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "image/jpeg"),
        ({"DataProcessing": {"InputFilter": "$..x"}}, "InputFilter"),
    ],
)
def test_requests_that_cannot_become_jobs(service: LocalService, members: dict[str, Any], sentence: str) -> None:
    code, text = service.error("CreateTransformJob", **transform_request("bad", **members))
    assert code == "ValidationException"
    assert sentence in text


def test_a_split_of_tensorflow_is_refused_by_name(service: LocalService) -> None:
    request = transform_request("bad")
    request["TransformInput"]["SplitType"] = "TFRecord"
    assert "SplitType TFRecord is not supported" in service.error("CreateTransformJob", **request)[1]
