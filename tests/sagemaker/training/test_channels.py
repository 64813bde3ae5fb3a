"""The data of a job: what becomes a file of a channel, and that the user's objects stay as they are."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight_sagemaker.training.channels import Channel, Downloader, channels_of
from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.objects import JobObjects
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport
from tests.sagemaker.training.conftest import JobRun


@pytest.fixture
def files_of(job: JobRun, tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """Return a function that downloads a channel and returns its files."""

    def files(uri: str, *, host: int = 0, hosts: int = 1, links: bool = False, **values: object) -> dict[str, bytes]:
        channel = Channel(**{"name": "train", "uri": uri, "kind": "S3Prefix", "mode": "File", **values})  # type: ignore[arg-type]
        folder = tmp_path / f"channel-{host}"
        objects = JobObjects(job.store.folder)
        try:
            downloader = Downloader(objects=objects, links=links, check=lambda: None, host=host, hosts=hosts)
            downloader.download(channel, folder)
        finally:
            objects.close()
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    return files


def test_keys_in_a_folder_lose_its_name(job: JobRun, files_of: Callable[..., dict[str, bytes]]) -> None:
    for key in ("data/train/cat/1.png", "data/train/2.png", "data/train/", "data/other.png"):
        job.put(key, b"" if key.endswith("/") else b"image")
    assert files_of("s3://photos/data/train") == {"cat/1.png": b"image", "2.png": b"image"}


def test_a_prefix_is_a_string(job: JobRun, files_of: Callable[..., dict[str, bytes]]) -> None:
    for key in ("data/train/1.png", "data/train2/1.png", "data/train.csv"):
        job.put(key, b"image")
    assert set(files_of("s3://photos/data/train")) == {"1.png", "train2/1.png", "train.csv"}


def test_a_single_object_and_a_whole_bucket(job: JobRun, files_of: Callable[..., dict[str, bytes]]) -> None:
    job.put("data/train.csv", b"1,2")
    assert files_of("s3://photos/data/train.csv") == {"train.csv": b"1,2"}
    assert files_of("s3://photos", host=1) == {"data/train.csv": b"1,2"}


def test_a_manifest_names_files(job: JobRun, files_of: Callable[..., dict[str, bytes]]) -> None:
    job.put("data/a/1.png", b"1")
    job.put("data/b/2.png", b"2")
    uri = job.put("m.json", json.dumps([{"prefix": "s3://photos/data/"}, "a/1.png", "b/2.png"]).encode())
    assert files_of(uri, kind="ManifestFile") == {"a/1.png": b"1", "b/2.png": b"2"}


def test_an_augmented_manifest_brings_its_objects(job: JobRun, files_of: Callable[..., dict[str, bytes]]) -> None:
    rows = [{"source-ref": job.put(f"data/{number}.png", b"image"), "class": number} for number in range(2)]
    text = "\n".join(json.dumps(row) for row in rows).encode()
    uri = job.put("lists/train.manifest", text)
    files = files_of(uri, kind="AugmentedManifestFile", attributes=("source-ref", "class"))
    assert files == {"train.manifest": text, "data/0.png": b"image", "data/1.png": b"image"}


def test_gzip_objects_are_unpacked(job: JobRun, files_of: Callable[..., dict[str, bytes]]) -> None:
    job.put("data/a.csv.gz", gzip.compress(b"1,2"))
    job.put("data/b.csv", b"3,4")
    assert files_of("s3://photos/data/", compression="Gzip") == {"a.csv": b"1,2", "b.csv": b"3,4"}


def test_hosts_share_the_keys(job: JobRun, files_of: Callable[..., dict[str, bytes]]) -> None:
    for number in range(5):
        job.put(f"data/{number}.png", b"image")
    parts = [set(files_of("s3://photos/data/", sharded=True, host=host, hosts=2)) for host in range(2)]
    assert parts == [{"0.png", "2.png", "4.png"}, {"1.png", "3.png"}]


def test_a_folder_of_this_machine(scenes: Path, files_of: Callable[..., dict[str, bytes]]) -> None:
    folder = scenes / "seg_pred"
    images = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files_of(folder.as_uri(), links=True) == images


@pytest.mark.parametrize(
    ("keys", "uri", "problem"),
    [
        (["data/1.png"], "s3://photos/dta/", "no object has a key that begins with s3://photos/dta/"),
        (["data/1.png"], "s3://nowhere/data/", "NoSuchBucket"),
        (["data/a", "data/a/b"], "s3://photos/data/", "cannot be a file, because another key has a part of its name"),
        (["data/../../b"], "s3://photos/data/", "cannot be a path of a file"),
        (["data//b"], "s3://photos/data/", "cannot be a path of a file"),
        (["data/" + "b" * 300], "s3://photos/data/", "cannot be a path of a file"),
    ],
)
def test_data_that_cannot_be_files_are_refused(
    job: JobRun, files_of: Callable[..., dict[str, bytes]], keys: list[str], uri: str, problem: str
) -> None:
    for key in keys:
        job.put(key, b"image")
    with pytest.raises(JobFailed, match=r"^ClientError: Data download failed: channel train: ") as failure:
        files_of(uri)
    assert problem in failure.value.reason


KEYS = st.sets(st.text(st.sampled_from("ab/."), min_size=1, max_size=6), min_size=1, max_size=5)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KEYS)
def test_whatever_the_keys_files_stay_in_the_channel(job: JobRun, tmp_path: Path, keys: set[str]) -> None:
    prefix, folder = f"{uuid.uuid4()}/", tmp_path / "channel" / str(uuid.uuid4())
    for key in keys:
        job.put(prefix + key, key.encode())
    before = {path for path in tmp_path.rglob("*") if "objects" not in path.parts}
    objects = JobObjects(job.store.folder)
    try:
        channel = Channel(name="train", uri=f"s3://photos/{prefix}", kind="S3Prefix", mode="File")
        Downloader(objects=objects, links=True, check=lambda: None).download(channel, folder)
        assert {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()} == {
            key: key for key in keys
        }
    except JobFailed:
        pass
    finally:
        objects.close()
    new = {path for path in tmp_path.rglob("*") if "objects" not in path.parts} - before
    assert all(path.is_relative_to(folder) or folder.is_relative_to(path) for path in new)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"InputMode": "Pipe"}, "InputMode Pipe is not supported. Allowed: File, FastFile."),
        ({"S3DataType": "Converse"}, "S3DataType Converse is not supported."),
    ],
)
def test_kinds_that_are_not_supported_are_refused_by_name(job: JobRun, values: dict[str, str], problem: str) -> None:
    job.channel("train", "s3://photos/data/", **values)
    with pytest.raises(JobFailed, match="channel train: ") as failure:
        channels_of(job.request)
    assert problem in failure.value.reason


CHANGES = (
    "import os, pathlib\n"
    "train = pathlib.Path(os.environ['SM_CHANNEL_TRAIN'])\n"
    "path = train / '1.png'\n"
    "with open(path, 'r+b') as file: file.write(b'XXXX')\n"
    "os.chmod(path, 0o600)\n"
    "(train / 'cache').write_text('new')\n"
    "assert path.read_bytes() == b'XXXXe', path.read_bytes()\n"
)


@pytest.mark.parametrize("way", ["overlay", "tmpfs", "environment"])
def test_a_job_may_change_its_data_and_the_objects_stay(
    job_in: Callable[[NamespaceSupport], JobRun], machine_support: NamespaceSupport, way: str
) -> None:
    if way != "environment" and not machine_support.no_network:
        pytest.skip(f"no namespaces on this machine: {machine_support.reason}")
    job = job_in(NamespaceSupport(way))  # type: ignore[arg-type]
    job.put("data/1.png", b"image")
    mode = (job.store.folder / "photos/data/1.png").stat().st_mode
    job.channel("train", "s3://photos/data/")
    job.code(CHANGES)
    assert job.run() == "Completed", job.log
    assert job.get("data/1.png") == b"image"
    assert (job.store.folder / "photos/data/1.png").stat().st_mode == mode


def test_fast_file_data_cannot_be_changed(private_job: JobRun) -> None:
    job = private_job
    job.put("data/1.png", b"image")
    job.channel("train", "s3://photos/data/", InputMode="FastFile")
    job.code("open('/opt/ml/input/data/train/1.png', 'r+b')\n")
    assert job.run() == "Failed"
    assert "Read-only file system" in job.reason
