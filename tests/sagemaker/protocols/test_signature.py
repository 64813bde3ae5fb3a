"""Signatures: those of botocore are accepted, anything that was changed after signing is refused."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from starlette.datastructures import Headers
from starlette.requests import Request

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.protocols.signature import ChunkSignatures, SignatureKey, check_signature
from clearsight_sagemaker.s3.body import write_body
from clearsight_sagemaker.s3.errors import S3Error

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


# The upload of AWS's documentation: 66,560 times the letter a, in two chunks.
CHUNKS = [
    (b"a" * 65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
]


def documented_signatures(monkeypatch: pytest.MonkeyPatch) -> ChunkSignatures:
    """Return the signatures of the chunks, of a request whose own signature is right."""
    key = SignatureKey(access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    monkeypatch.setattr(time, "time", moment.timestamp)
    signed_headers = (
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
        "x-amz-storage-class"
    )
    signature = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    headers = {
        "host": "s3.amazonaws.com",
        "content-encoding": "aws-chunked",
        "content-length": "66824",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-decoded-content-length": "66560",
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "authorization": f"AWS4-HMAC-SHA256 Credential={key.access_key}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={signed_headers},Signature={signature}",
    }
    request = request_of("PUT", "http://s3.amazonaws.com/examplebucket/chunkObject.txt", headers)
    signatures = check_signature(request, key, None)
    assert signatures is not None
    return signatures


def write_chunks(signatures: ChunkSignatures, chunks: list[tuple[bytes, str]], *lines: bytes) -> bytes:
    """Return what is written of a body; raises S3Error."""
    body = b"".join(
        b"%x;chunk-signature=%s\r\n%s%s" % (len(data), signature.encode(), data, b"\r\n" if data else b"")
        for data, signature in chunks
    )

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]
        yield b"".join(b"%s\r\n" % line for line in (*lines, b""))

    file, headers = io.BytesIO(), Headers({"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"})
    asyncio.run(write_body(stream(), headers, file, signatures))
    return file.getvalue()


def test_signed_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert write_chunks(documented_signatures(monkeypatch), CHUNKS) == b"a" * 66_560
    first, second, last = CHUNKS
    changed = (b"b" + first[0][1:], first[1])
    for chunks in ([changed, second, last], [second, last], [first, last], [first, second, (b"", "0" * 64)]):
        with pytest.raises(S3Error, match="signature of a chunk"):
            write_chunks(documented_signatures(monkeypatch), chunks)


def test_a_signed_trailer() -> None:
    def signatures() -> ChunkSignatures:
        return ChunkSignatures(key=b"key", moment="m", scope="s", signature="0" * 64, has_trailer=True)

    def signature(previous: str, algorithm: str, *digests: str) -> str:
        text = "\n".join([algorithm, "m", "s", previous, *digests])
        return hmac.new(b"key", text.encode(), hashlib.sha256).hexdigest()

    nothing = hashlib.sha256(b"").hexdigest()
    last = signature("0" * 64, "AWS4-HMAC-SHA256-PAYLOAD", nothing, nothing)
    checksum = b"x-amz-checksum-crc32:AAAAAA=="
    trailer = signature(last, "AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(checksum + b"\n").hexdigest())
    assert write_chunks(signatures(), [(b"", last)], checksum, b"x-amz-trailer-signature:" + trailer.encode()) == b""
    with pytest.raises(S3Error, match="signature of a chunk"):
        write_chunks(signatures(), [(b"", last)], checksum)


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
