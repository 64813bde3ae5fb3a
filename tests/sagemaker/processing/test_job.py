"""A processing job: inputs are in its folders, its command runs as it is written, its folders become objects."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.sagemaker.processing.conftest import ProcessingRun

SORT = """
import json, os, pathlib, sys
root = pathlib.Path("/opt/ml/processing")
names = sorted(p.relative_to(root / "input").as_posix() for p in (root / "input").rglob("*") if p.is_file())
(root / "sorted").mkdir(exist_ok=True)
(root / "sorted" / "names.json").write_text(json.dumps([names, sys.argv[1:], os.environ["COLOUR"], os.getcwd()]))
(root / "sorted" / "deep" ).mkdir()
(root / "sorted" / "deep" / "half.part").write_text("whole")
(root / "sorted" / "link.jpg").symlink_to("/opt/ml/processing/input/raw/a/1.jpg")
(root / "sorted" / "hosts").symlink_to("/etc/hosts")
config = pathlib.Path("/opt/ml/config")
job, resources = (json.loads((config / f"{n}.json").read_text()) for n in ("processingjobconfig", "resourceconfig"))
print(job["ProcessingJobName"], job["ProcessingJobArn"], resources["current_host"], resources["current_instance_type"])
pathlib.Path("/opt/ml/output/message").write_text("sorted 3 files")
"""


def test_inputs_command_outputs_and_exit_message(job: ProcessingRun) -> None:
    for key in ("raw/b/2.jpg", "raw/a/1.jpg"):
        job.put(key, b"image")
    job.input("code", job.put("code/sort.py", SORT.encode()))
    job.input("raw", "s3://photos/raw")
    key = job.output("sorted")
    job.command("python3", "/opt/ml/processing/input/code/sort.py", "--order", "name $HOME")
    job.request["Environment"] = {"COLOUR": "blue"}
    assert job.run() == "Completed"
    names, words, colour, folder = json.loads(job.get(f"{key}/names.json"))
    assert names == ["code/sort.py", "raw/a/1.jpg", "raw/b/2.jpg"]
    assert (words, colour, folder) == (["--order", "name $HOME"], "blue", "/opt/ml/processing")
    assert job.get(f"{key}/deep/half.part") == b"whole"
    assert job.get(f"{key}/link.jpg") == b"image"
    assert not job.has(f"{key}/hosts")
    assert "hosts of sorted is not uploaded: it is no file of the job." in job.log
    assert "sort arn:aws:sagemaker:us-east-1:123456789012:processing-job/sort algo-1 ml.m5.xlarge" in job.log
    assert job.statuses == ["Downloading", "Processing", "Uploading", "Completed"]
    assert {"exit_message": "sorted 3 files"}.items() <= {e["kind"]: e.get("text") for e in job.events}.items()
    assert not (job.folder / "work").exists()
    assert job.run() == "Completed", "a job that has ended is not run again"
    assert job.statuses.count("Processing") == 1


def test_the_job_cannot_change_its_inputs_in_the_store(job: ProcessingRun) -> None:
    job.input("raw", job.put("raw/a.txt", b"before"))
    job.command("/bin/sh", "-c", "echo after > /opt/ml/processing/input/raw/a.txt")
    assert job.run() == "Completed"
    assert job.get("raw/a.txt") == b"before"


def test_a_failed_command(job: ProcessingRun) -> None:
    key = job.output("found")
    writes = "import pathlib; pathlib.Path('/opt/ml/processing/found/half.csv').write_text('1')"
    job.command("python3", "-c", f"{writes}; raise ValueError('no label')")
    assert job.run() == "Failed"
    assert job.reason.startswith("AlgorithmError: Traceback")
    assert job.reason.endswith("ValueError: no label, exit code: 1")
    assert job.get(f"{key}/half.csv") == b"1", "what a failed job has written is there to be read"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://photos/nothing", "no object has a key that begins with s3://photos/nothing"),
        ("s3://missing/a", "NoSuchBucket"),
    ],
)
def test_missing_inputs(job: ProcessingRun, uri: str, reason: str) -> None:
    job.input("raw", uri)
    job.command("true")
    assert job.run() == "Failed"
    assert reason in job.reason


WAITS = """
cd /opt/ml/processing/state
trap 'echo saved > saved; exit 3' TERM
echo first > first
echo waiting
while :; do sleep 0.05; done
"""


def once(job: ProcessingRun, condition: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        log = job.folder / "log.txt"
        if log.exists() and f" {condition}\n" in log.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(condition)


def test_a_stopped_job_may_save_and_is_stopped(job: ProcessingRun) -> None:
    key = job.output("state", "Continuous")
    job.command("/bin/bash", "-c", WAITS)

    def stop() -> None:
        once(job, "waiting")
        end = time.monotonic() + 120
        while not job.has(f"{key}/first") and time.monotonic() < end:
            time.sleep(0.05)
        (job.folder / "stop").touch()

    thread = threading.Thread(target=stop)
    thread.start()
    assert job.run() == "Stopped"
    thread.join()
    assert (job.get(f"{key}/first"), job.get(f"{key}/saved")) == (b"first\n", b"saved\n")
    assert job.statuses == ["Downloading", "Processing", "Stopping", "Uploading", "Stopped"]


def test_a_job_beyond_its_time_is_stopped(job: ProcessingRun) -> None:
    job.request["StoppingCondition"] = {"MaxRuntimeInSeconds": 1}
    job.command("/bin/sh", "-c", "sleep 60")
    assert job.run() == "Stopped"
    assert job.statuses[-1] == "MaxRuntimeExceeded"


def test_a_job_whose_process_was_killed_fails_and_leaves_no_processes(job: ProcessingRun) -> None:
    lock = job.folder.parent / "state.lock"
    job.output("state")
    job.command("/bin/bash", "-c", f"exec 9> {lock}; flock 9; {WAITS}")
    job.write()
    runner = subprocess.Popen([sys.executable, "-m", "clearsight_sagemaker.processing", str(job.folder)])
    once(job, "waiting")
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the test's timeout ends a wait for a process that goes on
    assert job.run() == "Failed"
    assert job.reason == "InternalServerError: the process that ran the job ended before the job."
