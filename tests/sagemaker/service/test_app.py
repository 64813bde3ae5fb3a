"""One port for all services: routing, limits, who may send requests, signatures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.sagemaker.local_service import LocalService, job_request, local_service

SCOPE = "AWS4-HMAC-SHA256 Credential=AK/20261120/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=x"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service that requires signatures."""
    with local_service(tmp_path_factory.mktemp("guarded"), require_signature=True) as service:
        yield service


def test_objects_and_operations_are_on_one_port(service: LocalService, shared: Path) -> None:
    photo = (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()
    headers = {"Authorization": SCOPE.format("s3")}
    assert service.client.put("/dogs", headers=headers).status_code == 200
    assert service.client.put("/dogs/a.jpg", content=photo, headers=headers).status_code == 200
    assert service.client.get("/dogs/a.jpg").content == photo, "a request without a signature is for S3"
    document = "<Delete><Object><Key>a.jpg</Key></Object></Delete>"
    assert "<Deleted>" in service.client.post("/dogs?delete", content=document, headers=headers).text
    missing = service.client.get("/dogs/a.jpg")
    assert (missing.status_code, "NoSuchKey" in missing.text) == (404, True)
    assert missing.headers["x-amzn-requestid"]
    assert service.call("ListTrainingJobs") == {"TrainingJobSummaries": []}


@pytest.mark.parametrize(
    ("path", "headers", "text"),
    [
        ("/2015-03-31/functions", {"Authorization": SCOPE.format("lambda")}, "has no lambda"),
        ("/", {"X-Amz-Target": "AWSStepFunctions.CreateStateMachine"}, "has no AWSStepFunctions"),
        ("/", {"X-Amz-Target": "SageMaker.CreateLabelingJob"}, "CreateLabelingJob is an operation of SageMaker that"),
        ("/", {"X-Amz-Target": "SageMaker.Nonsense"}, "SageMaker has no operation 'Nonsense'"),
        ("/", {"X-Amz-Target": "SageMaker."}, "SageMaker has no operation ''"),
        ("/endpoints/dogs/invocations", {"Authorization": SCOPE.format("sagemaker")}, "Endpoint dogs of"),
        ("/metrics", {"Authorization": SCOPE.format("sagemaker")}, "has no sagemaker (POST /metrics)"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(service: LocalService, path: str, headers: dict[str, str], text: str) -> None:
    response = service.client.post(path, content="{}", headers=headers)
    assert response.status_code == 400
    assert text in response.json()["Message"]
    assert response.headers["x-amzn-errortype"] == response.json()["__type"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'{"MaxResults": 1e999}'])
def test_a_body_that_is_no_request(service: LocalService, body: bytes) -> None:
    response = service.client.post("/", content=body, headers={"X-Amz-Target": "SageMaker.ListTrainingJobs"})
    assert response.status_code == 400


def test_a_body_has_a_limit(service: LocalService) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListTrainingJobs"}
    response = service.client.post("/", content=b" " * (4 << 20) + b"{}", headers=headers)
    assert (response.status_code, response.json()["__type"]) == (413, "RequestEntityTooLarge")
    response = service.client.post("/dogs?delete", content=b" " * ((4 << 20) + 1))
    assert (response.status_code, "RequestEntityTooLarge" in response.text) == (413, True)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_page_in_a_browser_may_not_use_the_service(service: LocalService, headers: dict[str, str]) -> None:
    response = service.client.post("/", data={"Action": "GetCallerIdentity", "Version": "2011-06-15"}, headers=headers)
    assert (response.status_code, "AccessDenied" in response.text) == (403, True)


def test_a_failure_of_the_machine_is_an_error_that_clients_repeat(
    service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(service.state.table, "add", full)
    response = service.send("CreateTrainingJob", **job_request("dogs"))
    assert (response.status_code, response.json()["__type"]) == (500, "InternalFailure")
    assert "No space left on device" in response.json()["Message"]


# Signatures


def signed(
    service: LocalService, auth: type[Any], scope: str, method: str, path: str, body: bytes, **headers: str
) -> Any:
    """Return the response to a request that is signed with the key of the home."""
    account = service.state.account
    request = AWSRequest(method=method, url=f"http://testserver{path}", data=body, headers=headers)
    auth(Credentials(account.access_key, account.secret_key), scope, account.region).add_auth(request)
    return service.client.request(method, path, content=body, headers=dict(request.prepare().headers))


def test_a_signed_request_is_served(guarded: LocalService) -> None:
    target = {"X-Amz-Target": "SageMaker.ListTrainingJobs"}
    response = signed(guarded, SigV4Auth, "sagemaker", "POST", "/", b"{}", **target)
    assert response.json() == {"TrainingJobSummaries": []}
    assert signed(guarded, S3SigV4Auth, "s3", "PUT", "/cats", b"").status_code == 200
    assert signed(guarded, S3SigV4Auth, "s3", "PUT", "/cats/a", b"meow").status_code == 200
    assert signed(guarded, S3SigV4Auth, "s3", "GET", "/cats/a", b"").content == b"meow"


def test_an_unsigned_request_is_refused_in_the_form_of_its_service(guarded: LocalService) -> None:
    assert guarded.client.get("/_clearsight/health").status_code == 200
    assert "<Code>MissingAuthenticationToken</Code>" in guarded.client.get("/").text
    response = guarded.send("ListTrainingJobs")
    assert (response.status_code, response.json()["__type"]) == (403, "MissingAuthenticationToken")
    assert "<ErrorResponse>" in guarded.query("GetCallerIdentity", "2011-06-15").text


def test_an_upload_of_other_bytes_than_the_signed_ones_is_refused(guarded: LocalService) -> None:
    account = guarded.state.account
    request = AWSRequest(method="PUT", url="http://testserver/cats/b", data=b"meow", headers={})
    S3SigV4Auth(Credentials(account.access_key, account.secret_key), "s3", account.region).add_auth(request)
    headers = {name: value for name, value in request.prepare().headers.items() if name.lower() != "content-length"}
    response = guarded.client.put("/cats/b", content=b"woof", headers=headers)
    assert (response.status_code, "XAmzContentChecksumMismatch" in response.text) == (400, True)
    assert signed(guarded, S3SigV4Auth, "s3", "GET", "/cats/b", b"").status_code == 404
