"""A job is stopped by its user, by its limits, or by an interruption; nothing of it goes on afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clearsight.core.machine import process_identity
from clearsight_sagemaker.training.job import training_seconds
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport
from tests.sagemaker.training.conftest import JobRun

WAITS = (
    "import os, pathlib, signal, time\n"
    "model = pathlib.Path(os.environ['SM_MODEL_DIR'])\n"
    "(model / 'begun.txt').write_text('1')\n"
    "print('waiting', flush=True)\n"
)


@contextmanager
def once_logged(job: JobRun, text: str, act: Callable[[], None]) -> Iterator[None]:
    """Call a function in a thread once a line is in the job's log."""

    def watch() -> None:
        log, end = job.folder / "log.txt", time.monotonic() + 30
        while time.monotonic() < end and not (log.exists() and f"{text}\n" in log.read_text()):
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


@pytest.fixture(params=["best", "environment"])
def any_job(
    request: pytest.FixtureRequest, job_in: Callable[[NamespaceSupport], JobRun], machine_support: NamespaceSupport
) -> JobRun:
    """Return a job with the best way of this machine, and one without namespaces."""
    return job_in(machine_support if request.param == "best" else NamespaceSupport("environment"))


def test_a_stopped_job_may_save_its_model(any_job: JobRun) -> None:
    any_job.code(
        f"{WAITS}"
        "def save(*_):\n"
        "    (model / 'saved.txt').write_text('2')\n"
        "    raise SystemExit(1)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    start = time.monotonic()
    with once_logged(any_job, "ready", (any_job.folder / "stop").touch):
        assert any_job.run() == "Stopped"
    assert time.monotonic() - start < 15
    assert any_job.statuses[2:] == ["Training", "Stopping", "Uploading", "Stopped"]
    assert set(any_job.archive("job-1/output/model.tar.gz")) == {"begun.txt", "saved.txt"}


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(any_job: JobRun) -> None:
    any_job.code(f"{WAITS}signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)\n")
    with once_logged(any_job, "ready", (any_job.folder / "stop").touch):
        assert any_job.run(stop_seconds=0.3) == "Stopped"
    assert "The script did not end within 0.3 s after SIGTERM; it is killed." in any_job.log
    assert set(any_job.archive("job-1/output/model.tar.gz")) == {"begun.txt"}


def test_sigterm_reaches_the_children_of_the_script(any_job: JobRun) -> None:
    child = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(print('child ends')))\n"
    any_job.code(
        f"{WAITS}import subprocess, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "subprocess.Popen([sys.executable, 'child.py'], start_new_session=True).wait()\n",
        {"child.py": f"{child}print('ready', flush=True)\ntime.sleep(60)\n"},
    )
    with once_logged(any_job, "ready", (any_job.folder / "stop").touch):
        assert any_job.run(stop_seconds=10) == "Stopped"
    assert "child ends" in any_job.log
    assert not any("is killed" in line for line in any_job.log)


def test_children_that_a_script_leaves_behind_end_with_it(any_job: JobRun) -> None:
    any_job.code(
        "import os, subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
        "print('outside', os.readlink('/proc/self'), flush=True)\n"
    )
    start = time.monotonic()
    assert any_job.run() == "Completed"
    assert time.monotonic() - start < 15  # the child holds the pipe of the log
    assert not sleeping()


def sleeping() -> list[str]:
    """Return the PIDs of `sleep 3600` of this process' tree."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\x003600\x00" and process_identity(int(path.parent.name))["start"]:
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_a_job_that_runs_too_long_is_stopped(job: JobRun) -> None:
    job.request["StoppingCondition"] = {"MaxRuntimeInSeconds": 1}
    job.code(f"{WAITS}time.sleep(60)\n")
    assert job.run() == "Stopped"
    assert job.statuses[-2:] == ["Uploading", "MaxRuntimeExceeded"]
    assert set(job.archive("job-1/output/model.tar.gz")) == {"begun.txt"}


def test_a_job_stopped_before_its_script_runs_none(job: JobRun) -> None:
    job.code(WAITS)
    job.folder.mkdir(parents=True)
    (job.folder / "stop").touch()
    assert job.run() == "Stopped"
    assert job.statuses == ["Starting", "Stopping", "Stopped"]
    assert not job.has("job-1/output/model.tar.gz")


COUNTS = (
    "import pathlib, os, time\n"
    "path = pathlib.Path(os.environ['SM_MODEL_DIR']).parent / 'checkpoints' / 'epoch.txt'\n"
    "epoch = int(path.read_text()) if path.exists() else 0\n"
    "print('begins at epoch', epoch, flush=True)\n"
    "path.write_text(str(epoch + 1))\n"
    "if epoch < 2:\n"
    "    print('ready', epoch, flush=True)\n"
    "    time.sleep(60)\n"
)


def spot(job: JobRun) -> None:
    job.request["EnableManagedSpotTraining"] = True
    job.request["StoppingCondition"] = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    job.request["CheckpointConfig"] = {"S3Uri": "s3://photos/checkpoints/a"}
    job.code(COUNTS)


def test_a_spot_job_goes_on_from_its_checkpoints(job: JobRun) -> None:
    spot(job)
    interrupt = job.folder / "interrupt"
    with once_logged(job, "ready 0", interrupt.touch), once_logged(job, "ready 1", interrupt.touch):
        assert job.run() == "Completed"
    assert [line for line in job.log if line.startswith("begins")] == [f"begins at epoch {n}" for n in range(3)]
    again = ["Interrupted", "Restarting", "Downloading", "Training"]
    assert job.statuses == ["Starting", "Downloading", "Training", *again, *again, "Uploading", "Completed"]
    assert job.get("checkpoints/a/epoch.txt") == b"3"


def test_a_job_whose_runner_was_killed_goes_on_where_its_request_allows_it(job: JobRun) -> None:
    spot(job)
    job.write()
    runner = subprocess.Popen([sys.executable, "-m", "clearsight_sagemaker.training", str(job.folder)])
    with once_logged(job, "ready 0", lambda: wait_for(lambda: job.has("checkpoints/a/epoch.txt"))):
        pass
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not processes_in(job.folder))
    with once_logged(job, "ready 1", (job.folder / "stop").touch):
        assert job.run() == "Stopped"
    assert [line for line in job.log if line.startswith("begins")] == ["begins at epoch 0", "begins at epoch 1"]
    assert job.statuses[3:7] == ["Interrupted", "Restarting", "Downloading", "Training"]


def processes_in(folder: Path) -> list[str]:
    """Return the processes whose environment names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_job_cut_short_that_may_not_be_restarted_fails(job: JobRun) -> None:
    job.code("print('again')\n")
    job.write()
    lines = [{"time": 1.0, "kind": "status", "secondary": name, "message": ""} for name in ("Starting", "Training")]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (job.folder / "events.jsonl").write_text(text + '{"time":2.0,"kind":"met')  # killed while it wrote
    assert job.run() == "Failed"
    assert job.reason == "InternalServerError: the process that ran the job ended before the job."
    assert job.statuses == ["Starting", "Training", "Failed"]


def test_sigterm_to_the_runner_stops_the_job(job: JobRun) -> None:
    job.code(f"{WAITS}print('ready', flush=True)\ntime.sleep(60)\n")
    job.write()
    runner = subprocess.Popen([sys.executable, "-m", "clearsight_sagemaker.training", str(job.folder)])
    with once_logged(job, "ready", runner.terminate):
        assert runner.wait(30) == 0
    assert job.statuses[-1] == "Stopped"
    assert set(job.archive("job-1/output/model.tar.gz")) == {"begun.txt"}


def test_training_seconds_are_those_of_all_attempts() -> None:
    events = [
        {"time": time, "kind": "status", "secondary": secondary}
        for time, secondary in [(0, "Downloading"), (5, "Training"), (9, "Interrupted"), (20, "Training")]
    ]
    assert training_seconds(events) == 4
    assert training_seconds([*events, {"time": 26, "kind": "metric"}]) == 10


def test_a_killed_job_without_retries_fails_and_with_them_runs_again(job: JobRun, tmp_path: Path) -> None:
    job.code(
        "import os, pathlib, signal\n"
        f"path = pathlib.Path({str(tmp_path / 'starts.txt')!r})\n"
        "starts = len(path.read_text()) if path.exists() else 0\n"
        "path.write_text('x' * (starts + 1))\n"
        "if starts < 2: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    job.request["RetryStrategy"] = {"MaximumRetryAttempts": 1}
    assert job.run() == "Failed"
    assert job.statuses.count("Restarting") == 1
    assert job.reason.startswith("InternalServerError: its processes were killed by something outside the job")
    job.folder = job.folder.with_name("job-2")
    assert job.run() == "Completed"


def test_a_job_that_has_ended_is_not_run_again(job: JobRun) -> None:
    job.code("print('once')\n")
    assert [job.run(), job.run()] == ["Completed", "Completed"]
    assert job.log.count("once") == 1


def test_a_spot_job_waits_no_longer_than_its_limit(job: JobRun) -> None:
    spot(job)
    job.request["StoppingCondition"] = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 1}
    assert job.run() == "Stopped"
    assert job.statuses[-1] == "MaxWaitTimeExceeded"


def test_a_job_is_stopped_while_its_packages_are_installed(job: JobRun, tmp_path: Path) -> None:
    """The package index takes pip's connection and never responds."""
    job.folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as index:

        def stop() -> None:
            connection, _ = index.accept()
            (job.folder / "stop").touch()
            connections.append(connection)

        connections: list[socket.socket] = []
        thread = threading.Thread(target=stop)
        thread.start()
        job.job_environment = {"PIP_INDEX_URL": f"http://127.0.0.1:{index.getsockname()[1]}/simple"}
        job.code("print(1)\n", {"requirements.txt": "photo-labels\n"})
        assert job.run() == "Stopped"
        thread.join()
        connections[0].close()
    assert job.statuses[-2:] == ["Stopping", "Stopped"]
    wait_for(lambda: not processes_in(tmp_path))
