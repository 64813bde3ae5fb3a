"""Jobs outlive commands, are restarted, found again after kill -9, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.machine import process_ended, process_identity
from clearsight.jobs.client import Jobs, jobs_of
from clearsight.jobs.job import HealthCheck, Job, JobSpec, JobStatus, Resources
from clearsight.jobs.log_file import last_lines
from clearsight.jobs.store import JobStore
from tests.jobs.conftest import SERVER, end_supervisor, python, until

SLEEP = "import time; print('sleeping', flush=True); time.sleep(600)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server(name: str, **settings: object) -> JobSpec:
    port = free_port()
    check = HealthCheck(url=f"http://127.0.0.1:{port}/ping", every=0.2)
    return python(name, SERVER, str(port), health=check, restart="always", **settings)


def started(jobs: Jobs, spec: JobSpec) -> Job:
    return jobs.wait(spec.name, jobs.start(spec), 30)


def pids(jobs: Jobs, name: str) -> list[int]:
    """Return the PIDs of the server and its child that the log names last."""
    return [int(word) for word in last_lines(jobs.log(name), 1)[0].split()[1:]]


def alive(pid: int) -> bool:
    return bool(process_identity(pid)["start"])


def test_a_job_outlives_its_command_and_has_the_environment_that_it_was_given(jobs: Jobs) -> None:
    code = "import os, time; print(sorted(os.environ), os.getcwd(), flush=True); time.sleep(600)"
    job = started(jobs, python("first", code, environment={"A": "1"}))
    assert job.state.status is JobStatus.RUNNING
    until(lambda: bool(last_lines(jobs.log("first"), 1)))
    names, folder = last_lines(jobs.log("first"), 1)[0].rsplit(" ", 1)
    assert "'A'" in names
    assert "PATH" not in names
    assert folder == "/"
    with jobs_of(jobs.home) as other:  # another command
        assert other.get("first").state.process == job.state.process


def test_a_job_that_is_healthy_runs_and_is_removed_with_all_that_it_started(jobs: Jobs) -> None:
    spec = server("web")
    assert started(jobs, spec).state.status is JobStatus.RUNNING
    leader, child = pids(jobs, "web")
    assert alive(leader)
    assert alive(child)
    log = jobs.log("web")
    jobs.remove("web")
    assert not alive(leader)
    until(lambda: not alive(child))
    assert not log.exists()
    with pytest.raises(NotFound, match="web: there is no job of this name"):
        jobs.get("web")


def test_a_killed_process_is_started_again(jobs: Jobs) -> None:
    before = started(jobs, server("web")).state
    os.kill(before.process["pid"], signal.SIGKILL)
    until(lambda: jobs.get("web").state.starts == 2 and jobs.get("web").state.status is JobStatus.RUNNING)
    assert jobs.get("web").state.process != before.process
    assert process_ended(before.process)


def test_what_fails_before_it_was_healthy_is_not_started_again_and_its_last_words_are_the_reason(jobs: Jobs) -> None:
    check = HealthCheck(url="http://127.0.0.1:9/ping")
    job = started(jobs, python("bad", "raise ValueError('no such model')", health=check, restart="always"))
    assert job.state.status is JobStatus.FAILED
    assert job.state.reason == "ValueError: no such model"
    assert (job.state.exit_code, job.state.starts) == (1, 1)


def test_a_job_that_never_becomes_healthy_fails_with_the_reason(jobs: Jobs) -> None:
    check = HealthCheck(url=f"http://127.0.0.1:{free_port()}/ping", start_seconds=0.5)
    state = started(jobs, python("mute", SLEEP, health=check)).state
    assert state.status is JobStatus.FAILED
    assert "it was not healthy within 0.5 s: no answer" in state.reason


def test_a_program_that_does_not_exist_is_a_failed_job(jobs: Jobs) -> None:
    state = started(jobs, JobSpec(name="none", command=("/no/such/program",), folder=Path("/"))).state
    assert state.status is JobStatus.FAILED
    assert state.reason == "/no/such/program cannot be started: No such file or directory"


def test_a_job_without_a_restart_completes(jobs: Jobs) -> None:
    jobs.start(python("short", "print('done')"))
    until(lambda: jobs.get("short").state.status is JobStatus.COMPLETED)
    assert jobs.get("short").state.exit_code == 0


def test_a_job_that_ignores_sigterm_is_killed(jobs: Jobs) -> None:
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
    job = started(jobs, python("deaf", code, stop_seconds=0.3))
    until(lambda: last_lines(jobs.log("deaf"), 1) == ["sleeping"])
    jobs.stop("deaf")
    assert jobs.get("deaf").state.status is JobStatus.STOPPED
    assert jobs.get("deaf").state.exit_code == -signal.SIGKILL
    assert process_ended(job.state.process)


def test_another_spec_takes_the_place_of_a_job(jobs: Jobs) -> None:
    before = started(jobs, server("web")).state
    second = server("web")
    after = started(jobs, second)
    assert after.state.status is JobStatus.RUNNING
    assert after.spec == second
    assert process_ended(before.process)


def test_resources_are_those_of_the_job(jobs: Jobs) -> None:
    code = """
import os, resource, time
time.sleep(0.3)
print(sorted(os.sched_getaffinity(0)), os.nice(0), resource.getrlimit(resource.RLIMIT_AS)[0], flush=True)
time.sleep(600)
"""
    core = min(os.sched_getaffinity(0))
    started(jobs, python("share", code, resources=Resources(cores=(core,), memory=4 << 30, nice=5)))
    until(lambda: bool(last_lines(jobs.log("share"), 1)))
    assert last_lines(jobs.log("share"), 1) == [f"[{core}] 5 {4 << 30}"]


# kill -9


def test_a_new_supervisor_finds_the_jobs_of_a_killed_one(jobs: Jobs) -> None:
    before = started(jobs, server("web")).state
    end_supervisor(jobs, signal.SIGKILL)
    assert alive(before.process["pid"])
    assert jobs.all()[0].state.process == before.process
    os.kill(before.process["pid"], signal.SIGKILL)  # which the new one sees, although it is no child
    until(lambda: jobs.get("web").state.starts == 2 and jobs.get("web").state.status is JobStatus.RUNNING)


def test_jobs_that_died_with_their_supervisor_are_started_again_or_failed(jobs: Jobs) -> None:
    web, task = started(jobs, server("web")).state, started(jobs, python("task", SLEEP)).state
    end_supervisor(jobs, signal.SIGKILL)
    for state in (web, task):
        os.killpg(state.process["pid"], signal.SIGKILL)
    jobs.all()  # the next command
    until(lambda: jobs.get("web").state.status is JobStatus.RUNNING and jobs.get("web").state.starts == 2)
    until(lambda: jobs.get("task").state.status is JobStatus.FAILED)
    assert "no supervisor watched" in jobs.get("task").state.reason


def test_a_process_whose_pid_was_not_written_down_is_found(jobs: Jobs) -> None:
    state = started(jobs, python("task", SLEEP)).state
    end_supervisor(jobs, signal.SIGKILL)
    store = JobStore(jobs.home)
    store.set_state("task", state.changed(process={}))  # as it is between the start and the note of the PID
    store.close()
    jobs.all()
    until(lambda: jobs.get("task").state.process == state.process)


def test_a_supervisor_that_is_told_to_end_leaves_the_jobs(jobs: Jobs) -> None:
    state = started(jobs, python("task", SLEEP)).state
    end_supervisor(jobs, signal.SIGTERM)
    assert alive(state.process["pid"])
    jobs.remove("task")
    assert process_ended(state.process)


def test_two_homes_do_not_know_of_each_other(jobs: Jobs, tmp_path: Path) -> None:
    started(jobs, python("task", SLEEP))
    with jobs_of(tmp_path / "other") as other:
        assert other.all() == []
        first = started(other, python("task", SLEEP))
        other.remove("task")
        assert process_ended(first.state.process)
        end_supervisor(other, signal.SIGTERM)
    assert jobs.get("task").state.status is JobStatus.RUNNING


def test_jobs_end_with_their_home(tmp_path: Path) -> None:
    with jobs_of(tmp_path / "home") as jobs:
        web = started(jobs, server("web")).state
        children, supervisor = pids(jobs, "web"), jobs._store.supervisor
        shutil.rmtree(jobs.home)
        until(lambda: process_ended(supervisor) and process_ended(web.process))
        until(lambda: not any(alive(pid) for pid in children))


def test_a_process_without_a_supervisor_ends_with_its_folder(tmp_path: Path) -> None:
    (folder := tmp_path / "job").mkdir()
    code = """
import pathlib, subprocess, sys, time
from clearsight.jobs.process import end_with_folder
end_with_folder(pathlib.Path(sys.argv[1]))
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        folder.rmdir()
        assert process.wait(60) == -signal.SIGKILL
    until(lambda: not alive(child))


def test_a_home_is_private(jobs: Jobs) -> None:
    started(jobs, python("task", SLEEP, environment={"TOKEN": "secret"}))
    assert jobs.home.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["", "a b", "-a", "a-", "../x", "x" * 64])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(BadValue, match="must be 1 to 63 letters, digits and hyphens"):
        python(name, SLEEP)


def test_the_nearest_name_is_offered(jobs: Jobs) -> None:
    started(jobs, python("dogs", SLEEP))
    with pytest.raises(NotFound, match=r"Did you mean dogs\?"):
        jobs.get("dog")
    assert sys.executable in jobs.get("dogs").spec.command
