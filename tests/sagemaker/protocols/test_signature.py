"""Signatures: those of botocore are accepted, anything that was changed after signing is refused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from starlette.requests import Request

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.protocols.signature import SignatureKey, check_signature

KEY = SignatureKey(access_key="AKIDEXAMPLE", secret_key="secret")
CREDENTIALS = Credentials(KEY.access_key, KEY.secret_key)
HOST = "http://127.0.0.1:9000"


def request_of(method: str, url: str, headers: Mapping[str, str]) -> Request:
    parts = urlsplit(url)
    fields = {"host": parts.netloc, **headers}
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
        "server": ("127.0.0.1", 9000),
        "scheme": "http",
    }
    return Request(scope)


def signed(auth: Any, method: str = "POST", path: str = "/", body: bytes = b"", **headers: str) -> Request:
    """Return a request as botocore signs it."""
    request = AWSRequest(method=method, url=HOST + path, data=body, headers=headers)
    auth.add_auth(request)
    prepared = request.prepare()
    return request_of(method, prepared.url, {name: str(value) for name, value in prepared.headers.items()})


def json_request(body: bytes = b"{}") -> Request:
    target = {"X-Amz-Target": "SageMaker.ListTrainingJobs", "Content-Type": "application/x-amz-json-1.1"}
    return signed(SigV4Auth(CREDENTIALS, "sagemaker", "us-east-1"), body=body, **target)


def refused(request: Request, body: bytes | None, key: SignatureKey = KEY) -> str:
    with pytest.raises(ServiceError) as error:
        check_signature(request, key, body)
    return error.value.code


def test_a_control_request() -> None:
    check_signature(json_request(), KEY, b"{}")


def test_another_body_is_refused() -> None:
    assert refused(json_request(), b'{"MaxResults": 1}') == "SignatureDoesNotMatch"


def test_a_declared_hash_must_be_that_of_the_body() -> None:
    request = signed(S3SigV4Auth(CREDENTIALS, "s3", "us-east-1"), path="/dogs?delete", body=b"<Delete/>")
    check_signature(request, KEY, b"<Delete/>")
    assert refused(request, b"<Delete><Object/></Delete>") == "XAmzContentSHA256Mismatch"


def test_another_key_is_refused() -> None:
    assert refused(json_request(), b"{}", SignatureKey(access_key="AKIDEXAMPLE", secret_key="other")) == (
        "SignatureDoesNotMatch"
    )
    assert refused(json_request(), b"{}", SignatureKey(access_key="AKIDOTHER", secret_key="secret")) == (
        "InvalidAccessKeyId"
    )


def test_an_unsigned_request_is_refused() -> None:
    assert refused(request_of("GET", f"{HOST}/dogs", {}), b"") == "MissingAuthenticationToken"


def test_an_old_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    request, now = json_request(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 901)
    assert refused(request, b"{}") == "RequestTimeTooSkewed"


S3_PATHS = ["/dogs/a/b%20c%2B%C3%BC.jpg", "/dogs?list-type=2&prefix=a%2Fb&delimiter=%2F", "/dogs/x//y?tagging", "/"]


@pytest.mark.parametrize("path", S3_PATHS)
def test_requests_to_s3(path: str) -> None:
    auth = S3SigV4Auth(CREDENTIALS, "s3", "us-east-1")
    check_signature(signed(auth, "GET", path), KEY, b"")


@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_uploads_without_the_hash_of_the_body(payload: str) -> None:
    auth = S3SigV4Auth(CREDENTIALS, "s3", "us-east-1")
    # Over HTTP, botocore signs every body that it does not send in chunks; a proxy with TLS may stand in between.
    url = f"{HOST.replace('http:', 'https:')}/dogs/a"
    request = AWSRequest(method="PUT", url=url, headers={"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="})
    request.context["has_streaming_input"] = True
    if payload.startswith("STREAMING"):
        request.context["checksum"] = {"request_algorithm": {"algorithm": "crc32", "in": "trailer"}}
    auth.add_auth(request)
    sent = request_of("PUT", request.url, {name: str(value) for name, value in request.headers.items()})
    assert sent.headers["x-amz-content-sha256"] == payload
    check_signature(sent, KEY, None)


def test_signatures_of_chunks_are_refused() -> None:
    """Nobody would check them, and the body would be unsigned."""
    request = json_request()
    headers = {**request.headers, "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    assert refused(request_of("PUT", f"{HOST}/dogs/a", headers), None) == "NotImplemented"


@pytest.mark.parametrize(
    "auth", [S3SigV4QueryAuth(CREDENTIALS, "s3", "us-east-1", 60), HmacV1QueryAuth(CREDENTIALS, 60)]
)
@pytest.mark.parametrize("path", ["/dogs/a/b%20c.jpg", "/dogs/a?response-content-type=text%2Fplain"])
def test_presigned_addresses(auth: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request = signed(auth, "GET", path)
    check_signature(request, KEY, b"")
    other = request_of("GET", str(request.url).replace("/dogs/a", "/dogs/z"), {})
    assert refused(other, b"") == "SignatureDoesNotMatch"
    assert refused(request_of("PUT", str(request.url), {}), None) == "SignatureDoesNotMatch"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert refused(request, b"") == "AccessDenied"


def test_headers_of_amazon_belong_to_a_presigned_address_of_version_2() -> None:
    request = AWSRequest(method="PUT", url=f"{HOST}/dogs/a", headers={"x-amz-meta-breed": "beagle"})
    HmacV1QueryAuth(CREDENTIALS, 60).add_auth(request)
    check_signature(request_of("PUT", request.url, {"x-amz-meta-breed": "beagle"}), KEY, None)
    assert refused(request_of("PUT", request.url, {"x-amz-meta-breed": "poodle"}), None) == "SignatureDoesNotMatch"


def test_the_parts_of_a_version_4_query_are_checked() -> None:
    url = f"{HOST}/dogs/a?X-Amz-Signature={'0' * 64}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=9999999"
    assert refused(request_of("GET", url, {}), b"") == "AuthorizationQueryParametersError"
