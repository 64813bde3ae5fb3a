"""Objects of a job: in the service's own store, and in an S3 of any kind in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from clearsight.serving.server import background
from clearsight_sagemaker.s3.app import build_s3_app
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.s3.store import ObjectStore
from clearsight_sagemaker.training.objects import JobObjects, Objects
from clearsight_sagemaker.training.remote_objects import RemoteObjects


@pytest.fixture(params=["own", "remote"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
    folder = tmp_path / "objects"
    folder.mkdir()
    with closing(ObjectStore(folder)) as store:
        store.create_bucket("photos")
        if request.param == "own":
            with closing(JobObjects(folder)) as own:
                yield own
            return
        with (
            background(build_s3_app(store)) as url,
            closing(RemoteObjects(url, "AKIDEXAMPLE", "secret", "us-east-1", tmp_path / "work")) as remote,
        ):
            yield remote


def test_what_is_written_is_listed_and_read(objects: Objects, shared: Path) -> None:
    photo = shared / "data" / "bad-inputs" / "good.jpg"
    for name in ("train/cats/1.jpg", "train/a b ü.jpg", "trainer/2.jpg"):
        objects.upload(photo, f"s3://photos/{name}")
    with objects.writing("s3://photos/train/lines.txt") as file:
        file.write(b"one\n")
        file.write(b"two\n")
    assert {found.key: found.size for found in objects.keys("s3://photos/train/")} == {
        "train/a b ü.jpg": photo.stat().st_size,
        "train/cats/1.jpg": photo.stat().st_size,
        "train/lines.txt": 8,
    }
    with objects.opened("s3://photos/train/a b ü.jpg") as (path, file):
        assert file.read() == photo.read_bytes() == path.read_bytes()


def test_an_object_has_the_content_type_of_its_name_or_a_given_one(objects: Objects) -> None:
    for kind in ("", "application/x-npy"):
        with objects.writing(f"s3://photos/{kind}/a.json", kind) as file:
            file.write(b"1")
        assert objects.content_type(f"s3://photos/{kind}/a.json") == (kind or "application/json")


def test_after_an_error_nothing_is_written(objects: Objects) -> None:
    with suppress(ZeroDivisionError), objects.writing("s3://photos/half.txt") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert list(objects.keys("s3://photos/")) == []


def test_what_is_not_there_is_named(objects: Objects) -> None:
    objects.check_bucket("s3://photos/any")
    with pytest.raises(S3Error) as error:
        objects.check_bucket("s3://nothing")
    assert error.value.code == "NoSuchBucket"
    with pytest.raises(S3Error) as error, objects.opened("s3://photos/nothing"):
        pass
    assert error.value.code == "NoSuchKey"
    with pytest.raises(S3Error):
        list(objects.keys("s3://nothing/"))


def test_an_s3_that_does_not_answer(tmp_path: Path) -> None:
    with closing(RemoteObjects("http://127.0.0.1:1", "AKIDEXAMPLE", "secret", "us-east-1", tmp_path)) as remote:
        remote._client.meta.config.retries["total_max_attempts"] = 1
        with pytest.raises(S3Error, match=r"127\.0\.0\.1:1"):
            remote.check_bucket("s3://photos")
