"""The scan, predict and the endpoint accept or refuse hostile files as the manifest states."""

from __future__ import annotations

import csv
import http.client
import os
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.walks.commands import CLEARSIGHT, error_of, json_of, run

GIGABYTE = 1 << 30


@pytest.fixture(scope="module")
def manifest(shared: Path) -> dict[str, str]:
    with (shared / "data" / "bad-inputs" / "manifest.csv").open(encoding="utf-8") as rows:
        return {row["file"]: row["expected"] for row in csv.DictReader(rows)}


@pytest.fixture(scope="module")
def hostile(shared: Path, manifest: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders: the hostile files as one class, good files as the other."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "odd").mkdir()
    for name in manifest:
        shutil.copy(shared / "data" / "bad-inputs" / name, root / "odd" / name)
    shutil.copytree(shared / "data" / "intel-scenes" / "seg_test" / "sea", root / "sea")
    return root


@pytest.fixture(scope="module")
def model(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "digits"
    run("train", digits, "-m", "tiny", "--weights", "none", "--limit", "300", "--epochs", "1", "--out", out)
    return out


def peak_bytes_of(words: list[str]) -> int:
    """Return the largest resident set of `clearsight WORDS` in a process of its own."""
    # VmHWM starts again with each program; getrusage would include the test process that forked it.
    code = (
        "import sys; from pathlib import Path; from clearsight.cli import main; main(sys.argv[1:]);"
        "status = Path('/proc/self/status').read_text().split();"
        "print(status[status.index('VmHWM:') + 1], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return int(done.stderr.splitlines()[-1]) * 1024


def test_the_scan_refuses_exactly_the_bad_files(hostile: Path, manifest: dict[str, str]) -> None:
    audit = json_of("data", hostile)
    corrupt = {Path(bad["path"]).name: bad["reason"] for bad in audit["corrupt"]}
    listed = sum(sum(counts.values()) for counts in audit["splits"].values()) - 40
    # Hidden files and Thumbs.db are not listed. Every other file is listed, and bad ones are refused with a reason.
    refused = {name for name, expected in manifest.items() if expected == "reject" and not name.startswith(".")}
    assert set(corrupt) == refused
    assert all(corrupt.values())
    assert listed == len(manifest) - 2
    assert "bad-image" in {warning["code"] for warning in audit["warnings"]}


def test_the_scan_stays_below_a_gigabyte(hostile: Path) -> None:
    assert peak_bytes_of(["data", str(hostile), "--json"]) < GIGABYTE


def test_training_skips_bad_files_or_fails_by_policy(hostile: Path, tmp_path: Path) -> None:
    common = ("train", hostile, "-m", "tiny", "--weights", "none", "--epochs", "1")
    run(*common, "--out", tmp_path / "run")
    assert "13 images cannot be used" in (tmp_path / "run" / "run.json").read_text()
    message = error_of(*common, "--on-bad", "fail", "--out", tmp_path / "none")
    assert "--on-bad skip" in message
    assert not (tmp_path / "none").exists()


def test_predict_returns_a_row_for_every_file(shared: Path, model: Path, manifest: dict[str, str]) -> None:
    files = [shared / "data" / "bad-inputs" / name for name in manifest]
    rows_by_name = {Path(row["path"]).name: row for row in json_of("predict", model, *files)}
    for name, expected in manifest.items():
        row = rows_by_name[name]
        if expected == "accept":
            assert row["error"] is None, (name, row["error"])
            assert 0 <= row["probability"] <= 1
        elif expected in ("reject", "skip"):
            assert row["label"] is None, name
            assert row["error"], name


def test_predict_stays_below_a_gigabyte(shared: Path, model: Path) -> None:
    assert peak_bytes_of(["predict", str(model), str(shared / "data" / "bad-inputs"), "--json"]) < GIGABYTE


def invoke(url: str, body: bytes, media_type: str) -> int:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": media_type})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_the_endpoint_returns_400_for_bad_files_and_keeps_running(
    shared: Path, model: Path, manifest: dict[str, Any]
) -> None:
    from clearsight.workflow.serve import ServeOptions, serving

    with serving(model, ServeOptions(port=0)) as url:
        for name, expected in manifest.items():
            body = (shared / "data" / "bad-inputs" / name).read_bytes()
            status = invoke(url, body, "application/octet-stream")
            allowed = {"accept": {200}, "either": {200, 400}}.get(expected, {400})
            assert status in allowed, (name, status)
        assert invoke(url, b"x" * (21 << 20), "image/jpeg") == 413
        assert invoke(url, b"hello", "text/plain") == 415


def test_the_endpoint_stays_below_a_gigabyte(shared: Path, model: Path, manifest: dict[str, str]) -> None:
    start = [*CLEARSIGHT, "serve", str(model), "--port", "0"]
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            url = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
            for name in manifest:
                invoke(url, (shared / "data" / "bad-inputs" / name).read_bytes(), "application/octet-stream")
            status = Path(f"/proc/{server.pid}/status").read_text().split()
        finally:
            server.terminate()
            server.stdout.read()
    assert int(status[status.index("VmHWM:") + 1]) * 1024 < GIGABYTE


def test_an_unreadable_file_is_reported_too(model: Path, tmp_path: Path) -> None:
    """A dangling link, and a file without permission where permissions count."""
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert "no such file" in error_of("predict", model, tmp_path / "gone.jpg")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"x")
    secret.chmod(0)
    if os.access(secret, os.R_OK):
        pytest.skip("this user may read every file")
    (row,) = json_of("predict", model, secret)
    assert "Permission denied" in row["error"]
