"""Endpoints from creation to deletion: states, requests, updates without a lost request, model servers that end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from clearsight_sagemaker.endpoints.deployment import EndpointDocument, instances
from clearsight_sagemaker.hosting.server_status import ServerStatus
from clearsight_sagemaker.service.app import HEALTH_PATH
from tests.sagemaker.endpoints.hosted import JSON, Hosted
from tests.sagemaker.hosting.model_folder import SCRIPT
from tests.sagemaker.local_service import local_service

TIMES = """
import json
def model_fn(model_dir): return {factor}
def input_fn(body, content_type): return json.loads(body)
def predict_fn(number, model): return number * model
def output_fn(product, accept): return json.dumps(product)
"""
# Answers "wait" once a file is there.
WAITING = """
import os, time
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    while body == "wait" and not os.path.exists(MARK):
        time.sleep(0.01)
    return body, content_type + ";" + accept
"""
ECHO = """
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept): return body, content_type + ";" + accept
"""


@pytest.fixture(scope="module")
def factors(hosted: Hosted) -> Hosted:
    """Models times-2 and times-3, and an endpoint of the first."""
    for factor in (2, 3):
        hosted.model(f"times-{factor}", {SCRIPT: TIMES.format(factor=factor)})
        hosted.config(f"times-{factor}", {"ModelName": f"times-{factor}"})
    assert hosted.endpoint("factors", "times-2")["EndpointStatus"] == "InService"
    return hosted


def test_an_endpoint_answers_and_its_errors_are_those_of_sagemaker(factors: Hosted) -> None:
    answer = factors.invoke("factors", b"21", X_Amzn_SageMaker_Custom_Attributes="trace=7")
    assert (answer.content, answer.headers["content-type"]) == (b"42", JSON)
    assert answer.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
    assert answer.headers["x-amzn-sagemaker-custom-attributes"] == "trace=7"
    error = factors.invoke("factors", b"{}")
    assert (error.status_code, error.headers["x-amzn-errortype"]) == (424, "ModelError")
    body = error.json()
    assert body["OriginalStatusCode"] == 500
    assert body["OriginalMessage"].startswith("unsupported operand type(s) for *: 'dict' and 'int'\nTraceback")
    assert body["Message"].startswith('Received server error (500) from primary with message "unsupported operand')
    assert body["LogStreamArn"].endswith(":log-group:/aws/sagemaker/Endpoints/factors")
    too_large = factors.invoke("factors", b"1" * 6_291_457)
    assert too_large.json()["__type"] == "ValidationError"
    assert "length less than or equal to 6291456" in too_large.json()["Message"]
    assert factors.invoke("factors", b" " * 6_291_454 + b"21").content == b"42"
    assert factors.service.client.get(HEALTH_PATH).json()["endpoints"] >= 1
    missing = factors.invoke("none", b"1").json()
    assert missing == {"__type": "ValidationError", "Message": "Endpoint none of account 000000000000 not found."}
    assert "Variant B" in factors.invoke("factors", b"1", X_Amzn_SageMaker_Target_Variant="B").json()["Message"]


def test_its_log_is_a_group_of_its_own(factors: Hosted) -> None:
    group = "/aws/sagemaker/Endpoints/factors"
    factors.invoke("factors", b"{}")
    [stream] = factors.service.call("DescribeLogStreams", "logs", logGroupName=group)["logStreams"]
    assert stream["logStreamName"].startswith("AllTraffic/i-")
    events = factors.service.call("GetLogEvents", "logs", logGroupName=group, logStreamName=stream["logStreamName"])
    assert any("TypeError: unsupported operand" in event["message"] for event in events["events"])
    groups = factors.service.call("DescribeLogGroups", "logs")["logGroups"]
    assert group in [found["logGroupName"] for found in groups]


def test_an_update_loses_no_request(factors: Hosted) -> None:
    results: list[tuple[int, bytes]] = []
    is_updated = threading.Event()

    def send() -> None:
        while not is_updated.is_set():
            response = factors.invoke("factors", b"1")
            results.append((response.status_code, response.content))

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    factors.service.call("UpdateEndpoint", EndpointName="factors", EndpointConfigName="times-3")
    code, text = factors.service.error("UpdateEndpoint", EndpointName="factors", EndpointConfigName="times-2")
    assert (code, "Cannot update in-progress endpoint" in text) == ("ValidationException", True)
    assert factors.settled("factors")["EndpointConfigName"] == "times-3"
    folder = factors.service.state.home.endpoints / "factors" / "instances"
    factors.until(lambda: len([*folder.iterdir()]), lambda count: count == 1)  # the old one has ended
    is_updated.set()
    for thread in threads:
        thread.join()
    assert {*results} == {(200, b"2"), (200, b"3")}
    assert [body for _, body in results[-2:]] == [b"3", b"3"]


def test_a_killed_model_server_comes_back(factors: Hosted) -> None:
    row = factors.service.state.table.get("endpoint", "factors")
    assert row is not None
    document = EndpointDocument.from_json(row.document)
    [name] = instances(row.name, row.created, document.shown)
    identity = ServerStatus.read(name.folder(factors.service.state.home.endpoints)).process
    os.kill(identity["pid"], signal.SIGKILL)
    answer = factors.until(lambda: factors.invoke("factors", b"1"), lambda found: found.status_code == 200)
    assert answer.content == document.shown.config[-1:].encode()
    assert factors.service.call("DescribeEndpoint", EndpointName="factors")["EndpointStatus"] == "InService"


def test_variants_have_their_share_and_instances_are_copies(factors: Hosted) -> None:
    variants = [{"ModelName": "times-2", "VariantName": "A"}, {"ModelName": "times-3", "VariantName": "B"}]
    factors.config("both", *variants)
    factors.endpoint("both", "both")
    chosen = {factors.invoke("both", b"1").headers["x-amzn-invoked-production-variant"] for _ in range(40)}
    assert chosen == {"A", "B"}
    assert factors.invoke("both", b"1", X_Amzn_SageMaker_Target_Variant="B").content == b"3"
    desired = [
        {"VariantName": "A", "DesiredWeight": 0, "DesiredInstanceCount": 2}, {"VariantName": "B", "DesiredWeight": 1}
    ]  # fmt: skip
    factors.service.call("UpdateEndpointWeightsAndCapacities", EndpointName="both", DesiredWeightsAndCapacities=desired)
    first, second = factors.settled("both")["ProductionVariants"]
    assert (first["CurrentWeight"], first["CurrentInstanceCount"]) == (0, 2)
    assert second["CurrentWeight"] == 1
    assert {factors.invoke("both", b"1").content for _ in range(10)} == {b"3"}
    factors.delete("both")


def test_a_model_that_cannot_be_loaded_is_in_service_and_answers_with_the_traceback(hosted: Hosted) -> None:
    hosted.model("broken", {SCRIPT: "import no_such_package"})
    hosted.config("broken", {"ModelName": "broken"})
    assert hosted.endpoint("broken", "broken")["EndpointStatus"] == "InService"
    start = time.monotonic()
    error = hosted.invoke("broken", b"1")
    assert time.monotonic() - start < 30, "at once, not after the 60 s of AWS"
    assert error.status_code == 424
    assert "ModuleNotFoundError: No module named 'no_such_package'" in error.json()["OriginalMessage"]
    hosted.delete("broken")


def test_model_data_that_is_not_there_fails_the_endpoint(hosted: Hosted) -> None:
    hosted.model("lost", {SCRIPT: ECHO})
    hosted.service.client.delete("/models/lost.tar.gz", headers=hosted._objects)
    hosted.config("lost", {"ModelName": "lost"})
    found = hosted.endpoint("lost", "lost")
    assert found["EndpointStatus"] == "Failed"
    assert 'from URL: "s3://models/lost.tar.gz". Please ensure' in found["FailureReason"]
    assert "not found" in hosted.invoke("lost", b"1").json()["Message"]
    hosted.delete("lost")


def test_a_bad_update_leaves_the_endpoint_as_it_was(factors: Hosted) -> None:
    before = factors.service.call("DescribeEndpoint", EndpointName="factors")
    factors.model("gone", {SCRIPT: ECHO})
    factors.service.client.delete("/models/gone.tar.gz", headers=factors._objects)
    factors.config("gone", {"ModelName": "gone"})
    factors.service.call("UpdateEndpoint", EndpointName="factors", EndpointConfigName="gone")
    after = factors.settled("factors")
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", before["EndpointConfigName"])
    assert "gone.tar.gz" in after["FailureReason"]
    assert factors.invoke("factors", b"1").status_code == 200


def test_endpoints_and_asynchronous_requests_outlast_the_service_and_strict_ones_fail(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with local_service(tmp_path / "home") as first:
        hosted = Hosted(first)
        hosted.model("echo", {SCRIPT: f"MARK = {str(mark)!r}\n" + WAITING})
        output = {"OutputConfig": {"S3OutputPath": "s3://models/results"}}
        hosted.config("echo", {"ModelName": "echo"}, AsyncInferenceConfig=output)
        hosted.endpoint("echo", "echo")
        result = hosted.invoke("echo", b"wait", "async-invocations").headers["x-amzn-sagemaker-outputlocation"]
        first.call(
            "CreateEndpoint", EndpointName="half", EndpointConfigName="echo"
        )  # it ends before that is in service
    mark.touch()
    left_over = tmp_path / "home" / "endpoints" / "echo" / "instances" / "i-left"  # as a kill during an update does
    (left_over / "work").mkdir(parents=True)
    with local_service(tmp_path / "home", strict_endpoints=True) as second:
        hosted = Hosted(second)
        hosted.until(left_over.exists, lambda found: not found)
        assert hosted.invoke("echo", b"1", Accept="text/csv").headers["content-type"] == f"{JSON};text/csv"
        assert hosted.until(lambda: hosted.get(result), bool) == b"wait"
        assert hosted.settled("half")["EndpointStatus"] == "InService"
        hosted.model("broken", {SCRIPT: "import no_such_package"})
        hosted.config("broken", {"ModelName": "broken"})
        failed = hosted.endpoint("broken", "broken")
        hosted.delete_all()
    assert failed["EndpointStatus"] == "Failed"
    assert "variant AllTraffic did not pass the ping health check" in failed["FailureReason"]
    assert failed["FailureReason"].endswith("ModuleNotFoundError: No module named 'no_such_package'")


def test_deletion_lets_requests_end(factors: Hosted) -> None:
    factors.model("slow", {SCRIPT: "import time\n" + ECHO.replace("return body", "time.sleep(1); return body")})
    factors.config("slow", {"ModelName": "slow"})
    factors.endpoint("slow", "slow")
    answers: list[bytes] = []
    thread = threading.Thread(target=lambda: answers.append(factors.invoke("slow", b"done").content))
    thread.start()
    route = factors.service.state.endpoints.routes.get("slow")
    assert route is not None
    [instance] = route.variants[0].instances
    factors.until(lambda: instance.in_progress, bool)
    factors.delete("slow")
    thread.join()
    assert answers == [b"done"]
    assert not (factors.service.state.home.endpoints / "slow" / "instances").exists()
    logs = factors.service.call("DescribeLogStreams", "logs", logGroupName="/aws/sagemaker/Endpoints/slow")
    assert len(logs["logStreams"]) == 1, "logs outlive the endpoint"
    assert json.dumps(factors.service.call("ListEndpoints")).count("slow") == 0
