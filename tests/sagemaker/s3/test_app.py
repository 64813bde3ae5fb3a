"""S3 over HTTP as clients of SageMaker use it; the requests are those that boto3 sends."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

from clearsight_sagemaker.s3.app import build_s3_app
from clearsight_sagemaker.s3.store import ObjectStore

SPACE = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    store = ObjectStore(tmp_path / "s3")
    with TestClient(build_s3_app(store)) as client:
        assert client.put("/photos").status_code == 200
        yield client
    store.close()


@pytest.fixture
def photo(shared: Path) -> bytes:
    return (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()


def code(response: object) -> str:
    return ElementTree.fromstring(response.text).findtext("Code") or ""  # type: ignore[attr-defined]


def test_a_photo_is_stored_and_read_back(client: TestClient, photo: bytes) -> None:
    headers = {"Content-Type": "image/jpeg", "x-amz-meta-breed": "beagle", "x-amz-tagging": "split=train"}
    stored = client.put("/photos/a/b c+ü.jpg", content=photo, headers=headers)
    assert stored.headers["etag"] == f'"{hashlib.md5(photo, usedforsecurity=False).hexdigest()}"'
    read = client.get("/photos/a/b%20c%2B%C3%BC.jpg")
    assert read.content == photo
    assert read.headers["content-type"] == "image/jpeg"
    assert read.headers["x-amz-meta-breed"] == "beagle"
    assert "<Value>train</Value>" in client.get("/photos/a/b c+ü.jpg?tagging").text
    head = client.head("/photos/a/b c+ü.jpg")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(photo)))


@pytest.mark.parametrize(
    ("text", "status", "part"),
    [
        ("bytes=1-2", 206, slice(1, 3)),
        ("bytes=-2", 206, slice(-2, None)),
        ("bytes=5-", 206, slice(5, None)),
        ("x", 200, slice(None)),
    ],
)
def test_ranges(text: str, status: int, part: slice, client: TestClient, photo: bytes) -> None:
    client.put("/photos/a", content=photo)
    response = client.get("/photos/a", headers={"Range": text})
    assert (response.status_code, response.content) == (status, photo[part])


def test_errors_have_the_codes_that_clients_know(client: TestClient) -> None:
    client.put("/photos/a", content=b"1")
    assert code(client.get("/photos/b")) == "NoSuchKey"
    assert code(client.get("/nowhere?list-type=2")) == "NoSuchBucket"
    assert client.head("/nowhere").status_code == 404
    assert code(client.put("/photos")) == "BucketAlreadyOwnedByYou"
    assert code(client.delete("/photos")) == "BucketNotEmpty"
    assert code(client.get("/photos/a", headers={"Range": "bytes=9-"})) == "InvalidRange"
    wrong = base64.b64encode(hashlib.md5(b"2", usedforsecurity=False).digest()).decode()
    assert code(client.put("/photos/a", content=b"1", headers={"Content-MD5": wrong})) == "BadDigest"
    assert code(client.put("/photos/a", content=b"1", headers={"x-amz-checksum-crc32": "AAAAAA=="})) == "BadDigest"
    assert code(client.put("/Photos")) == "InvalidBucketName"
    assert code(client.get("/photos?lifecycle")) == "NotImplemented"
    assert code(client.post("/photos?delete", content=b"<!DOCTYPE x><Delete/>")) == "MalformedXML"
    assert client.get("/photos/a").content == b"1"


def test_the_website_of_a_bucket_is_stored(client: TestClient) -> None:
    assert code(client.get("/photos?website")) == "NoSuchWebsiteConfiguration"
    body = b"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>"
    assert client.put("/photos?website", content=body).status_code == 200
    assert client.get("/photos?website").content == body
    assert code(client.put("/photos?website", content=b"<Website")) == "MalformedXML"
    assert client.delete("/photos?website").status_code == 204
    assert client.get("/photos?website").status_code == 404


def test_an_object_that_the_client_has_already_is_not_sent_again(client: TestClient) -> None:
    etag = client.put("/photos/a", content=b"1").headers["etag"]
    response = client.get("/photos/a", headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (304, b"")


def test_aws_chunked_bodies_with_a_trailing_checksum(client: TestClient, photo: bytes) -> None:
    def chunked(body: bytes, checksum: bytes) -> bytes:
        pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
        data = b"".join(b"%x;chunk-signature=0\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        return data + b"0\r\nx-amz-checksum-crc32:" + checksum + b"\r\n\r\n"

    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": str(len(photo)),
        "Content-Encoding": "aws-chunked",
    }
    checksum = base64.b64encode(zlib.crc32(photo).to_bytes(4, "big"))
    stored = client.put("/photos/a", content=chunked(photo, checksum), headers=headers)
    assert stored.headers["x-amz-checksum-crc32"] == checksum.decode()
    read = client.get("/photos/a", headers={"x-amz-checksum-mode": "ENABLED"})
    assert read.content == photo
    assert read.headers["x-amz-checksum-crc32"] == checksum.decode()
    assert "content-encoding" not in read.headers
    assert code(client.put("/photos/b", content=chunked(photo, b"AAAAAA=="), headers=headers)) == "BadDigest"
    assert code(client.put("/photos/b", content=chunked(photo, checksum)[:500], headers=headers)) == "IncompleteBody"
    assert client.get("/photos/b").status_code == 404


def test_parts_are_joined_in_their_order(client: TestClient) -> None:
    upload = ElementTree.fromstring(client.post("/photos/big?uploads").content).findtext("s3:UploadId", "", SPACE)
    bodies = {2: b"b" * (5 << 20), 1: b"a" * (5 << 20), 3: b"c"}
    etags = {
        n: client.put(f"/photos/big?partNumber={n}&uploadId={upload}", content=body).headers["etag"]
        for n, body in bodies.items()
    }
    assert client.get(f"/photos/big?uploadId={upload}").text.count("<PartNumber>") == 3

    def complete(numbers: list[int]) -> object:
        parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etags[n]}</ETag></Part>" for n in numbers)
        text = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
        return client.post(f"/photos/big?uploadId={upload}", content=text)

    assert code(complete([2, 1])) == "InvalidPartOrder"
    assert client.get("/photos/big").status_code == 404
    assert '-3"</ETag>' in complete([1, 2, 3]).text  # type: ignore[attr-defined]
    assert client.get("/photos/big").content == bodies[1] + bodies[2] + bodies[3]
    assert code(complete([1])) == "NoSuchUpload"


def test_a_copy_keeps_or_replaces_what_the_object_says_of_itself(client: TestClient) -> None:
    client.put("/photos/a b", content=b"1", headers={"Content-Type": "image/png", "x-amz-meta-k": "v"})
    source = {"x-amz-copy-source": "photos/a%20b"}
    assert client.put("/photos/c", headers=source).status_code == 200
    assert client.head("/photos/c").headers["x-amz-meta-k"] == "v"
    replaced = {**source, "x-amz-metadata-directive": "REPLACE", "Content-Type": "image/gif"}
    client.put("/photos/d", headers=replaced)
    assert client.head("/photos/d").headers["content-type"] == "image/gif"
    assert "x-amz-meta-k" not in client.head("/photos/d").headers
    assert code(client.put("/photos/e", headers={"x-amz-copy-source": "photos/none"})) == "NoSuchKey"


def test_listings_of_both_versions(client: TestClient) -> None:
    for key in ("a/1", "a/2", "b/1", "c", "d&e"):
        client.put(f"/photos/{key}", content=b"x")
    page = ElementTree.fromstring(client.get("/photos?list-type=2&delimiter=/&max-keys=2").content)
    assert [prefix.text for prefix in page.findall("s3:CommonPrefixes/s3:Prefix", SPACE)] == ["a/", "b/"]
    assert page.findtext("s3:IsTruncated", "", SPACE) == "true"
    token = page.findtext("s3:NextContinuationToken", "", SPACE)
    rest = ElementTree.fromstring(
        client.get("/photos", params={"list-type": "2", "delimiter": "/", "continuation-token": token}).content
    )
    assert [key.text for key in rest.findall("s3:Contents/s3:Key", SPACE)] == ["c", "d&e"]
    first = ElementTree.fromstring(client.get("/photos?marker=a/1&max-keys=1").content)
    assert [key.text for key in first.findall("s3:Contents/s3:Key", SPACE)] == ["a/2"]


def test_many_are_deleted_at_once(client: TestClient) -> None:
    client.put("/photos/a", content=b"1")
    text = "<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object></Delete>"
    assert client.post("/photos?delete", content=text).text.count("<Deleted>") == 2
    assert client.delete("/photos").status_code == 204
    assert code(client.get("/photos")) == "NoSuchBucket"
