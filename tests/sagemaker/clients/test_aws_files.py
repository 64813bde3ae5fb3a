"""`aws s3` with its filters, and stop of a job: what notebooks call by a shell line."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.sagemaker.clients.conftest import Clients
from tests.sagemaker.local_service import job_request


@pytest.fixture(scope="module")
def folder(clients: Clients) -> Path:
    """A bucket `files` with photographs and texts in two folders, and the same files in a local folder."""
    folder = clients.work / "files"
    for name in ("train/a.png", "train/b.txt", "test/c d.png", "e.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    clients.run("aws", "s3", "mb", "s3://files")
    clients.run("aws", "s3", "sync", str(folder), "s3://files/all", "--only-show-errors")
    return folder


def keys(clients: Clients, prefix: str) -> list[str]:
    lines = clients.run("aws", "s3", "ls", f"s3://files/{prefix}", "--recursive").splitlines()
    return [line.split(maxsplit=3)[3] for line in lines]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_filters_choose_what_is_copied(clients: Clients, folder: Path, tmp_path: Path) -> None:
    filters = ("--recursive", "--exclude", "*", "--include", "*.png", "--quiet")
    clients.run("aws", "s3", "cp", "s3://files/all", str(tmp_path), *filters)
    assert names(tmp_path) == ["test/c d.png", "train/a.png"]
    assert (tmp_path / "test" / "c d.png").read_text() == "test/c d.png"
    summary = clients.run("aws", "s3", "ls", "s3://files/all/", "--recursive", "--human-readable", "--summarize")
    assert "Total Objects: 4" in summary


def test_sync_deletes_what_is_gone_on_either_side(clients: Clients, folder: Path, tmp_path: Path) -> None:
    clients.run("aws", "s3", "cp", "s3://files/all", "s3://files/mirror", "--recursive", "--quiet")
    clients.run("aws", "s3", "rm", "s3://files/mirror/e.txt", "--quiet")
    (tmp_path / "left.txt").write_text("1")
    clients.run("aws", "s3", "sync", "s3://files/mirror", str(tmp_path), "--delete", "--quiet")
    assert names(tmp_path) == ["test/c d.png", "train/a.png", "train/b.txt"]
    (tmp_path / "train" / "a.png").unlink()
    clients.run("aws", "s3", "sync", str(tmp_path), "s3://files/mirror", "--delete", "--quiet")
    assert keys(clients, "mirror") == ["mirror/test/c d.png", "mirror/train/b.txt"]


def test_objects_move_and_go(clients: Clients, folder: Path) -> None:
    clients.run("aws", "s3", "mv", "s3://files/all/train/b.txt", "s3://files/moved/b.txt", "--quiet")
    assert keys(clients, "moved") == ["moved/b.txt"]
    clients.run("aws", "s3", "rm", "s3://files/moved", "--recursive", "--quiet")
    clients.run("aws", "s3", "rm", "s3://files/all", "--recursive", "--exclude", "*.png", "--quiet")
    assert keys(clients, "all") == ["all/test/c d.png", "all/train/a.png"]
    clients.run("aws", "s3", "rb", "s3://files", "--force")
    assert "files" not in clients.run("aws", "s3", "ls")


def test_presigned_addresses_and_websites(clients: Clients, folder: Path) -> None:
    clients.run("aws", "s3", "mb", "s3://site")
    clients.run("aws", "s3", "cp", str(folder / "train" / "a.png"), "s3://site/a.png", "--quiet")
    address = clients.run("aws", "s3", "presign", "s3://site/a.png", "--expires-in", "60").strip()
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=10) as response:
        assert response.read() == b"train/a.png"
    clients.run("aws", "s3", "website", "s3://site", "--index-document", "index.html")
    website = clients.aws("s3api", "get-bucket-website", "--bucket", "site")
    assert website == {"IndexDocument": {"Suffix": "index.html"}}


def test_a_running_job_is_stopped(clients: Clients) -> None:
    request = json.dumps(job_request("waiting", HyperParameters={"script": '"wait"'}))
    clients.aws("sagemaker", "create-training-job", "--cli-input-json", request)
    clients.aws("sagemaker", "stop-training-job", "--training-job-name", "waiting")
    code = "import boto3; boto3.client('sagemaker').get_waiter('training_job_completed_or_stopped').wait("
    clients.python(code + "TrainingJobName='waiting', WaiterConfig={'Delay': 1})")
    found = clients.aws("sagemaker", "describe-training-job", "--training-job-name", "waiting")
    assert found["TrainingJobStatus"] == "Stopped"
