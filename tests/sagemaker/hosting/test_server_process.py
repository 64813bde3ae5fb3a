"""`python -m clearsight_sagemaker.hosting FOLDER`: the server as a process, over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from clearsight_sagemaker.hosting.server_app import TOKEN_HEADER
from clearsight_sagemaker.hosting.server_status import ServerStatus
from tests.sagemaker.hosting.model_folder import SCRIPT, ModelFolder, archive

ECHO = """
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept): return body, content_type
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-P", "-m", "clearsight_sagemaker.hosting", str(folder)])


def status(folder: Path, process: subprocess.Popen[bytes]) -> ServerStatus:
    """Return the status of a server once it is decided."""
    while (found := ServerStatus.read(folder)).status == "preparing":
        assert process.poll() is None
        time.sleep(0.02)
    return found


def test_ping_invocations_and_a_restart_after_a_kill(model: ModelFolder) -> None:
    model.write(model.put("model.tar.gz", archive({SCRIPT: ECHO})))
    first = start(model.folder)
    found = status(model.folder, first)
    url = f"http://127.0.0.1:{found.port}"
    assert httpx.get(f"{url}/ping").status_code == 200
    assert httpx.get(f"{url}/execution-parameters").json()["MaxConcurrentTransforms"] == 1
    assert httpx.post(f"{url}/invocations", content=b"1").status_code == 403
    headers = {TOKEN_HEADER: found.token, "Content-Type": "image/png"}
    answer = httpx.post(f"{url}/invocations", content=b"\x89PNG", headers=headers)
    assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG", "image/png")
    first.kill()
    first.wait()
    assert ServerStatus.read(model.folder).status == "preparing", "its process has ended"
    model.store.delete("models", "model.tar.gz")  # a server that comes back needs no object again
    second = start(model.folder)
    assert status(model.folder, second).status == "ready"
    second.send_signal(signal.SIGTERM)
    assert second.wait() in (0, -signal.SIGTERM)


def test_a_model_that_cannot_be_had_is_in_the_status(model: ModelFolder) -> None:
    model.write("s3://models/missing.tar.gz")
    process = start(model.folder)
    assert process.wait() == 0
    found = ServerStatus.read(model.folder)
    assert found.status == "failed"
    assert "missing.tar.gz" in found.reason
    assert os.listdir(model.folder / "work" / "ml" / "model") == []
