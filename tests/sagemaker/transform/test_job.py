"""A batch transform job, with a model of its own for its time."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clearsight_sagemaker.s3.store import ObjectStore
from clearsight_sagemaker.training.environment import UserEnvironment
from clearsight_sagemaker.training.processes.namespaces import namespace_support
from clearsight_sagemaker.transform.job import run_transform_job
from tests.sagemaker.hosting.model_folder import IMAGE, archive
from tests.sagemaker.training.conftest import BUCKET, JobRun

SIZE = """
import json, os, time
def model_fn(model_dir): return os.environ["COLOUR"]
def input_fn(body, content_type): return body
def predict_fn(body, model):
    if body == b"slow": time.sleep(600)
    return {"bytes": len(body), "colour": model}
def output_fn(found, accept): return json.dumps(found), "application/json"
"""


@dataclass
class TransformRun(JobRun):
    """A transform job in a folder of a test. script: of its model."""

    script: str = SIZE

    def write(self) -> None:
        super().write()
        file = self.folder / "service.json"
        data = self.put("model.tar.gz", archive({"code/inference.py": self.script}))
        container = {"Image": IMAGE, "ModelDataUrl": data, "Environment": {"COLOUR": "grey"}}
        file.write_text(json.dumps({**json.loads(file.read_text()), "model": {"PrimaryContainer": container}}))

    def run(self, *, stop_seconds: float = 5.0) -> str:
        self.write()
        user = UserEnvironment(variables={"PATH": os.environ["PATH"]})
        return run_transform_job(self.folder, user, support=self.support)


def transform_request(name: str, **members: Any) -> dict[str, Any]:
    """Return a CreateTransformJob request for the objects below photos/in."""
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in"}}
    return {
        "TransformJobName": name,
        "ModelName": "size",
        "TransformInput": {"DataSource": source, "ContentType": "image/jpeg"},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        **members,
    }


@pytest.fixture
def job(tmp_path: Path) -> Iterator[TransformRun]:
    with closing(ObjectStore(tmp_path / "objects")) as store:
        store.create_bucket(BUCKET)
        support = namespace_support(tmp_path / "namespaces")
        yield TransformRun(tmp_path / "jobs" / "sizes", store, support, transform_request("sizes"))


def test_photographs_become_results_of_the_model(job: TransformRun, scenes: Path) -> None:
    photos = sorted((scenes / "seg_train" / "forest").glob("*.jpg"))[:3]
    for photo in photos:
        job.put(f"in/{photo.name}", photo.read_bytes())
    job.request["Environment"] = {"COLOUR": "green"}
    assert job.run() == "Completed"
    for photo in photos:
        expected = {"bytes": photo.stat().st_size, "colour": "green"}
        assert json.loads(job.get(f"out/{photo.name}.out")) == expected
    assert "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD" in job.log
    assert job.log[-1] == "3 of 3 objects have a result."
    assert job.statuses == ["Downloading", "Transforming", "Completed"]
    assert not (job.folder / "model").exists()


def test_a_model_that_cannot_be_loaded_is_the_reason(job: TransformRun) -> None:
    job.put("in/a", b"1")
    job.script = "def model_fn(model_dir): raise RuntimeError('no weights here')"
    assert job.run() == "Failed"
    assert "did not pass the ping health check" in job.reason
    assert job.reason.rstrip().endswith("RuntimeError: no weights here")


def test_a_bad_record_fails_the_job_with_the_sentence_of_aws(job: TransformRun) -> None:
    job.put("in/1", b"fine")
    job.put("in/2", b"bad")
    job.script = SIZE.replace("return body", "return 1 / (body != b'bad') and body")
    job.request["ModelClientConfig"] = {"InvocationsMaxRetries": 0}
    assert job.run() == "Failed"
    assert job.reason == "ClientError: See job logs for more information"
    assert (job.has("out/1.out"), job.has("out/2.out")) == (True, False)
    assert any("Bad HTTP status received from algorithm: 500" in line for line in job.log)
    assert any("ZeroDivisionError" in line for line in job.log)


def once(job: TransformRun, word: str) -> None:
    end = time.monotonic() + 120
    while not (job.folder / "events.jsonl").exists() or word not in (job.folder / "events.jsonl").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_stop_does_not_wait_for_a_request(job: TransformRun) -> None:
    job.put("in/1", b"fast")
    job.put("in/2", b"slow")

    def stop() -> None:
        once(job, "Transforming")
        end = time.monotonic() + 120
        while not job.has("out/1.out") and time.monotonic() < end:
            time.sleep(0.02)
        stopped.append(time.monotonic())
        (job.folder / "stop").touch()

    stopped: list[float] = []
    thread = threading.Thread(target=stop)
    thread.start()
    assert job.run() == "Stopped"
    thread.join()
    assert time.monotonic() - stopped[0] < 60, "the request takes 600 s"
    assert (job.has("out/1.out"), job.has("out/2.out")) == (True, False)


def test_a_job_whose_process_was_killed_fails_and_its_model_is_gone(job: TransformRun) -> None:
    job.put("in/1", b"slow")
    lock = job.folder.parent / "model.lock"
    job.script = f"import fcntl; lock = open({str(lock)!r}, 'w'); fcntl.flock(lock, fcntl.LOCK_EX)\n{SIZE}"
    job.write()
    runner = subprocess.Popen([sys.executable, "-m", "clearsight_sagemaker.transform", str(job.folder)])
    once(job, "Transforming")
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the test's timeout ends a wait for a process that goes on
    assert job.run() == "Failed"
    assert job.reason == "InternalServerError: the process that ran the job ended before the job."
