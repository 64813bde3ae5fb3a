"""Records go to a server several at a time; results are whole, in order, and missing where a record fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.training.failure import JobFailed, StopRequested
from clearsight_sagemaker.training.objects import JobObjects
from clearsight_sagemaker.transform.transformer import RequestSettings, Transformer, TransformSource, transform_sources


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    content_type: str = "application/json"


class UpperCase:
    """A server that responds with the body in capitals, fails for `bad`, and fails once for each `late`.

    most: requests that it had at the same time.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.active = self.most = 0
        self._lock = threading.Lock()
        self.meeting: threading.Barrier | None = None

    def invoke(self, body: bytes, content_type: str, accept: str, timeout: float, /) -> Response:
        with self._lock:
            is_repeated = body in self.bodies
            self.bodies.append(body)
            self.active += 1
            self.most = max(self.most, self.active)
        if self.meeting is not None:
            self.meeting.wait(60)
        with self._lock:
            self.active -= 1
        if b"bad" in body or (b"late" in body and not is_repeated):
            return Response(500, b"no such breed")
        return Response(400, b"broken") if b"broken" in body else Response(200, body.upper())


class Bucket:
    """Objects in a store, and the transformation of them."""

    def __init__(self, folder: Path) -> None:
        self.objects, self.log = JobObjects(folder), list[str]()
        self.objects.store.create_bucket("data")

    def put(self, key: str, body: bytes) -> None:
        with self.objects.writing(f"s3://data/{key}") as file:
            file.write(body)

    def get(self, key: str) -> bytes | None:
        try:
            with self.objects.opened(f"s3://data/{key}") as (_, file):
                return file.read()
        except S3Error:
            return None

    def transform(
        self, server: UpperCase, check: Callable[[], None] = lambda: None, **members: Any
    ) -> list[TransformSource]:
        request = {
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/in"}},
                **members.pop("input", {}),
            },
            "TransformOutput": {"S3OutputPath": "s3://data/out/", **members.pop("output", {})},
            **members,
        }
        sources = transform_sources(request, self.objects)
        Transformer(server, self.objects, RequestSettings.of(request), self.log.append, check).run(sources)
        return sources


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    bucket = Bucket(tmp_path / "objects")
    yield bucket
    bucket.objects.close()


LINES = {"input": {"SplitType": "Line"}, "output": {"AssembleWith": "Line"}, "BatchStrategy": "SingleRecord"}


def test_each_object_has_a_result_beside_its_name(bucket: Bucket) -> None:
    for name in ("a.jpg", "deep/b.jpg"):
        bucket.put(f"in/{name}", name.encode())
    bucket.transform(UpperCase())
    assert (bucket.get("out/a.jpg.out"), bucket.get("out/deep/b.jpg.out")) == (b"A.JPG", b"DEEP/B.JPG")


def test_records_stay_in_order_with_several_requests_at_the_same_time(bucket: Bucket) -> None:
    lines = [f"line {number}".encode() for number in range(40)]
    bucket.put("in/lines.txt", b"\n".join(lines))
    server = UpperCase()
    server.meeting = threading.Barrier(4)
    bucket.transform(server, **LINES, MaxConcurrentTransforms=4)
    assert bucket.get("out/lines.txt.out") == b"".join(line.upper() + b"\n" for line in lines)
    assert server.most == 4


def test_one_bad_record_leaves_its_object_without_a_result_and_others_are_written(bucket: Bucket) -> None:
    bucket.put("in/1.txt", b"a\nb\n")
    bucket.put("in/2.txt", b"c\nbad\nd\n" + b"e\n" * 50)
    bucket.put("in/3.txt", b"f\n")
    server = UpperCase()
    sources = bucket.transform(server, **LINES, MaxConcurrentTransforms=2)
    assert [bool(source.problem) for source in sources] == [False, True, False]
    assert (bucket.get("out/1.txt.out"), bucket.get("out/3.txt.out")) == (b"A\nB\n", b"F\n")
    assert bucket.get("out/2.txt.out") is None
    assert server.bodies.count(b"e") < 5, "the rest of the object is not sent for nothing"
    assert server.bodies.count(b"bad") == 4, "the default of InvocationsMaxRetries is 3"
    assert bucket.log == ["data/in/2.txt: Bad HTTP status received from algorithm: 500\nno such breed"]


def test_what_the_client_has_done_wrong_is_not_repeated_and_what_fails_once_is(bucket: Bucket) -> None:
    bucket.put("in/1.txt", b"broken")
    bucket.put("in/2.txt", b"late")
    server = UpperCase()
    bucket.transform(server, ModelClientConfig={"InvocationsMaxRetries": 1})
    assert server.bodies == [b"broken", b"late", b"late"]
    assert bucket.get("out/2.txt.out") == b"LATE"


def test_a_record_beyond_the_payload_and_an_empty_object(bucket: Bucket) -> None:
    bucket.put("in/large.txt", b"x" * (1 << 20) + b"y")
    bucket.put("in/none.txt", b"")
    sources = bucket.transform(UpperCase(), **LINES, MaxPayloadInMB=1)
    assert "more than MaxPayloadInMB (1 MB)" in sources[0].problem
    assert (bucket.get("out/large.txt.out"), bucket.get("out/none.txt.out")) == (None, b"")


def test_a_manifest_names_the_objects(bucket: Bucket) -> None:
    for name in ("a", "b", "c"):
        bucket.put(f"photos/{name}", name.encode())
    bucket.put("in.manifest", json.dumps([{"prefix": "s3://data/photos/"}, "c", "a"]).encode())
    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://data/in.manifest"}
    bucket.transform(UpperCase(), input={"DataSource": {"S3DataSource": source}})
    assert [bucket.get(f"out/{name}.out") for name in ("a", "b", "c")] == [b"A", None, b"C"]


def test_an_empty_prefix_fails_by_its_name(bucket: Bucket) -> None:
    with pytest.raises(JobFailed, match="transform input: no object has a key that begins with s3://data/in"):
        bucket.transform(UpperCase())


def test_a_stop_leaves_whole_results_alone(bucket: Bucket) -> None:
    for number in range(5):
        bucket.put(f"in/{number}.txt", b"a\nb\n")
    server = UpperCase()

    def check() -> None:
        if len(server.bodies) >= 5:
            raise StopRequested

    with pytest.raises(StopRequested):
        bucket.transform(server, check, **LINES)
    written = [bucket.get(f"out/{number}.txt.out") for number in range(5)]
    assert set(written) == {b"A\nB\n", None}
