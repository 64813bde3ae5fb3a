"""What is recorded of invocations: data capture, metrics, asynchronous results; and streams, images, resources."""

from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from botocore.eventstream import EventStreamBuffer

from clearsight.testing.mean_colour import CLASSES, make_bundle
from tests.sagemaker.endpoints.hosted import JSON, ROLE, Hosted
from tests.sagemaker.hosting.model_folder import IMAGE, SCRIPT, folder_archive

# The body comes back; "fail" fails.
ECHO = """
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    if body == "fail": raise ValueError("as it was asked to")
    return body, content_type
"""


@pytest.fixture(scope="module")
def echo(hosted: Hosted) -> Hosted:
    """An endpoint with data capture, and one for asynchronous requests, of a model that echoes."""
    for operation, topic in (("CreateTopic", "good"), ("CreateTopic", "bad")):
        hosted.service.query(operation, "2010-03-31", Name=topic)
    hosted.model("echo", {SCRIPT: ECHO})
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://models/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    }
    topic = "arn:aws:sns:us-east-1:000000000000:"
    output = {
        "S3OutputPath": "s3://models/results",
        "S3FailurePath": "s3://models/failures",
        "NotificationConfig": {"SuccessTopic": f"{topic}good", "ErrorTopic": f"{topic}bad"},
    }
    hosted.config("captured", {"ModelName": "echo"}, DataCaptureConfig=capture)
    hosted.config("async", {"ModelName": "echo"}, AsyncInferenceConfig={"OutputConfig": output})
    for name in ("captured", "async"):
        hosted.service.call("CreateEndpoint", EndpointName=name, EndpointConfigName=name)
    assert hosted.settled("captured")["DataCaptureConfig"]["CaptureStatus"] == "Started"
    assert hosted.settled("async")["AsyncInferenceConfig"]["OutputConfig"] == output
    return hosted


def test_captured_requests_are_objects_in_sagemakers_layout(echo: Hosted, shared: Path) -> None:
    photo = (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()
    first_hour = time.strftime("%Y/%m/%d/%H", time.gmtime())
    echo.invoke("captured", photo, Content_Type="image/jpeg", X_Amzn_SageMaker_Inference_Id="photo-1")
    echo.invoke("captured", b"[1, 2]")
    echo.invoke("captured", b"fail")
    echo.service.state.endpoints.flush()
    keys = echo.keys("captured/captured/AllTraffic/")
    hours = {first_hour, time.strftime("%Y/%m/%d/%H", time.gmtime())}
    assert {key.removeprefix("captured/captured/AllTraffic/").rpartition("/")[0] for key in keys} <= hours
    assert all(key.endswith(".jsonl") for key in keys)
    lines = b"".join(echo.get(f"s3://models/{key}") or b"" for key in keys).splitlines()
    first, second = map(json.loads, lines)  # the request that failed is not there
    data = first["captureData"]
    assert base64.b64decode(data["endpointInput"]["data"]) == photo
    assert (data["endpointInput"]["encoding"], data["endpointInput"]["mode"]) == ("BASE64", "INPUT")
    assert first["eventMetadata"]["inferenceId"] == "photo-1"
    assert second["captureData"]["endpointOutput"] == {
        "observedContentType": JSON, "mode": "OUTPUT", "data": "[1, 2]", "encoding": "JSON",
    }  # fmt: skip


def test_metrics_of_a_variant_are_in_cloudwatch(echo: Hosted) -> None:
    for body in (b"1", b"2", b"fail"):
        echo.invoke("captured", body)
    dimensions = [{"Name": "EndpointName", "Value": "captured"}, {"Name": "VariantName", "Value": "AllTraffic"}]

    def statistics(name: str, statistic: str) -> float:
        found = echo.service.call(
            "GetMetricStatistics",
            "cloudwatch",
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=dimensions,
            StartTime=time.time() - 600,
            EndTime=time.time() + 60,
            Period=3600,
            Statistics=[statistic],
        )
        return float(sum(point[statistic] for point in found["Datapoints"]))

    assert statistics("Invocations", "Sum") >= 3
    assert statistics("Invocation5XXErrors", "Sum") >= 1
    assert statistics("Invocation4XXErrors", "Sum") == 0
    assert 0 < statistics("ModelLatency", "Average") < 60e6
    assert 0 < statistics("OverheadLatency", "Average") < 60e6
    listed = echo.service.call("ListMetrics", "cloudwatch", Namespace="AWS/SageMaker")["Metrics"]
    assert {metric["MetricName"] for metric in listed} >= {"InvocationsPerInstance", "Invocations"}


def test_an_asynchronous_request_has_an_object_and_a_notification(echo: Hosted) -> None:
    accepted = echo.invoke(
        "async",
        b"",
        "async-invocations",
        X_Amzn_SageMaker_InputLocation=echo.put("input/a.json", b"[7]"),
        X_Amzn_SageMaker_Content_Type=JSON,
        X_Amzn_SageMaker_Inference_Id="mine",
    )
    assert (accepted.status_code, accepted.json()) == (202, {"InferenceId": "mine"})
    output = accepted.headers["x-amzn-sagemaker-outputlocation"]
    assert output.startswith("s3://models/results/")
    assert echo.until(lambda: echo.get(output), bool) == b"[7]"
    failing = echo.invoke("async", b"fail", "async-invocations")
    failure = failing.headers["x-amzn-sagemaker-failurelocation"]
    assert b"as it was asked to" in echo.until(lambda: echo.get(failure), bool)
    notifications = echo.service.state.home.notifications
    echo.until(lambda: notifications.read_text().splitlines() if notifications.exists() else [], lambda x: len(x) == 2)
    messages = [json.loads(json.loads(line)["message"]) for line in notifications.read_text().splitlines()]
    assert [message["invocationStatus"] for message in messages] == ["Completed", "Failed"]
    assert messages[0]["responseParameters"]["outputLocation"] == output
    assert messages[0]["requestParameters"]["inputLocation"] == "s3://models/input/a.json"
    assert "is not an asynchronous endpoint" in echo.invoke("captured", b"1", "async-invocations").json()["Message"]


def test_a_stream_has_the_frames_that_clients_read(echo: Hosted) -> None:
    body = b" " * 70_000
    response = echo.invoke("captured", body, "invocations-response-stream", Content_Type="text/plain")
    assert response.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert response.headers["x-amzn-sagemaker-content-type"] == "text/plain"
    buffer = EventStreamBuffer()
    buffer.add_data(response.content)
    events = [*buffer]
    assert [event.headers[":event-type"] for event in events] == ["PayloadPart", "PayloadPart"]
    assert b"".join(event.payload for event in events) == body


def test_a_serverless_endpoint_classifies_with_a_bundle(hosted: Hosted, shared: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path)
    container = {"Image": "clearsight:latest", "ModelDataUrl": hosted.put("bundle.tar.gz", folder_archive(tmp_path))}
    hosted.service.call("CreateModel", ModelName="bundle", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {
        "ModelName": "bundle", "VariantName": "AllTraffic",
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5},
    }  # fmt: skip
    hosted.service.call("CreateEndpointConfig", EndpointConfigName="bundle", ProductionVariants=[variant])
    [shown] = hosted.endpoint("bundle", "bundle")["ProductionVariants"]
    assert shown["CurrentServerlessConfig"]["MemorySizeInMB"] == 2048
    photo = (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()
    answer = hosted.invoke("bundle", photo, Content_Type="image/jpeg", Accept=JSON)
    assert answer.json()["label"] in CLASSES
    bad = hosted.invoke("bundle", b"no image", Content_Type="image/jpeg")
    assert bad.json()["OriginalStatusCode"] == 400
    assert 'Received client error (400) from primary with message "' in bad.json()["Message"]


def test_names_tags_and_lists_of_models_and_configurations(hosted: Hosted) -> None:
    service = hosted.service
    container = {"Image": IMAGE, "Environment": {"SAGEMAKER_REGION": "us-east-1"}}
    tags = [{"Key": "of", "Value": "tests"}]
    for number in range(3):
        service.call("CreateModel", ModelName=f"named-{number}", PrimaryContainer=container, Tags=tags)
    arn = service.call("DescribeModel", ModelName="named-1")["ModelArn"]
    assert service.call("ListTags", ResourceArn=arn) == {"Tags": tags}
    code, text = service.error("CreateModel", ModelName="named-1", PrimaryContainer=container)
    assert (code, text) == ("ValidationException", f'Cannot create already existing model "{arn}".')
    page = service.call("ListModels", NameContains="named", SortBy="Name", SortOrder="Ascending", MaxResults=2)
    assert [model["ModelName"] for model in page["Models"]] == ["named-0", "named-1"]
    rest = service.call(
        "ListModels", NameContains="named", SortBy="Name", SortOrder="Ascending", NextToken=page["NextToken"]
    )
    assert [model["ModelName"] for model in rest["Models"]] == ["named-2"]
    hosted.config("named", {"ModelName": "named-1"})
    service.call("DeleteModel", ModelName="named-1")
    assert service.error("DescribeModel", ModelName="named-1")[1] == f'Could not find model "{arn}".'
    assert 'Could not find model "' in service.error("CreateEndpoint", EndpointName="x", EndpointConfigName="named")[1]
    service.call("DeleteEndpointConfig", EndpointConfigName="named")
    missing = service.error("DescribeEndpointConfig", EndpointConfigName="named")[1]
    assert (
        missing
        == 'Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:000000000000:endpoint-config/named".'
    )


def test_an_asynchronous_request_without_a_type_has_that_of_its_object(echo: Hosted) -> None:
    numbers = io.BytesIO()
    np.save(numbers, np.arange(3))
    address = echo.put("input/a.npy", numbers.getvalue(), content_type="application/x-npy")
    accepted = echo.invoke("async", b"", "async-invocations", X_Amzn_SageMaker_InputLocation=address)
    output = accepted.headers["x-amzn-sagemaker-outputlocation"]
    assert echo.until(lambda: echo.get(output), bool) == numbers.getvalue()
    assert echo.content_type(output) == "application/x-npy", "by which the SDK chooses how to read it"


def test_no_endpoint_is_monitored(hosted: Hosted) -> None:
    found = hosted.service.call("ListMonitoringSchedules", EndpointName="dogs", MaxResults=10)
    assert found == {"MonitoringScheduleSummaries": []}
    assert (
        hosted.service.error("DescribeMonitoringSchedule", MonitoringScheduleName="dogs")[0]
        == "UnknownOperationException"
    )


@pytest.mark.parametrize("key", ["none", "there.tar.g", "there", "there.tar.gz/deeper"])
def test_a_model_needs_its_data(hosted: Hosted, key: str) -> None:
    hosted.put("there.tar.gz", b"")
    for address in (f"s3://models/{key}", f"s3://no-such-bucket/{key}"):
        container = {"Image": IMAGE, "ModelDataUrl": address}
        code, text = hosted.service.error("CreateModel", ModelName="refused", PrimaryContainer=container)
        assert (code, text) == ("ValidationException", f"Could not find model data at {address}.")


@pytest.mark.parametrize(
    ("container", "text"),
    [
        (
            {"Image": "1.dkr.ecr.us-east-1.amazonaws.com/tensorflow-inference:2.3"},
            "tensorflow-inference is neither",
        ),
        ({"Image": IMAGE, "Mode": "MultiModel"}, "Mode must be SingleModel"),
        ({"ModelPackageName": "cats"}, "no containers with ModelPackageName"),
        ({"Image": IMAGE, "ModelDataUrl": "https://models/m.tar.gz"}, "must be an address s3://"),
    ],
    ids=["image", "mode", "package", "address"],
)
def test_containers_that_cannot_run_here_are_refused_by_name(
    hosted: Hosted, container: dict[str, str], text: str
) -> None:
    assert text in hosted.service.error("CreateModel", ModelName="refused", PrimaryContainer=container)[1]
