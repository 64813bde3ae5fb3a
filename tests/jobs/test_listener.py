"""The supervisor listens for a job: while its process is started again, connections wait instead of being refused."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from clearsight.core.machine import process_ended
from clearsight.jobs.client import Jobs
from clearsight.jobs.job import JobSpec, JobStatus
from clearsight.jobs.listener import LISTENER, inherited_listener, listening_socket
from clearsight.jobs.log_file import last_lines
from tests.jobs.conftest import end_supervisor, python, until

# Answers each connection with its PID; it names the variable of its socket first, and listens nowhere without one.
ANSWER = """
import os, sys, time
from clearsight.jobs.listener import inherited_listener
listener = inherited_listener(os.environ, "127.0.0.1")
print("no socket" if listener is None else f"port {listener.getsockname()[1]}", flush=True)
while listener:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(str(os.getpid()).encode())
time.sleep(600)
"""


def answering(name: str, port: int) -> JobSpec:
    return python(name, ANSWER, restart="always", listen=("127.0.0.1", port))


def free_port() -> int:
    with listening_socket("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def answer(port: int) -> int:
    """Return the PID that one connection is answered with."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        return int(connection.recv(100))


def started(jobs: Jobs, spec: JobSpec) -> int:
    """Start a job and return the PID of its process."""
    job = jobs.wait(spec.name, jobs.start(spec), 60)
    assert job.state.status is JobStatus.RUNNING
    return int(job.state.process["pid"])


def killed(jobs: Jobs, name: str) -> int:
    """Kill the process of a job and return its PID once it is over."""
    identity = jobs.get(name).state.process
    os.kill(identity["pid"], signal.SIGKILL)
    until(lambda: process_ended(identity))
    return int(identity["pid"])


def test_a_connection_while_the_process_is_started_again_waits_for_its_answer(jobs: Jobs) -> None:
    port = free_port()
    before = started(jobs, answering("web", port))
    assert answer(port) == before
    assert killed(jobs, "web") == before
    assert answer(port) != before


def test_after_a_stop_connections_are_refused(jobs: Jobs) -> None:
    port = free_port()
    started(jobs, answering("web", port))
    jobs.stop("web")
    with pytest.raises(ConnectionRefusedError):
        answer(port)


def test_another_spec_moves_the_socket(jobs: Jobs) -> None:
    first, second = free_port(), free_port()
    started(jobs, answering("web", first))
    after = started(jobs, answering("web", second))
    assert answer(second) == after
    with pytest.raises(ConnectionRefusedError):
        answer(first)


def test_a_new_supervisor_listens_again_once_the_process_of_the_killed_one_is_over(jobs: Jobs) -> None:
    port = free_port()
    before = started(jobs, answering("web", port))
    end_supervisor(jobs, signal.SIGKILL)
    assert answer(port) == before
    jobs.all()  # starts another supervisor
    killed(jobs, "web")
    until(lambda: jobs.get("web").state.starts == 2 and jobs.get("web").state.status is JobStatus.RUNNING)
    assert answer(port) != before
    killed(jobs, "web")
    assert answer(port) != before


def test_where_the_address_is_taken_the_process_gets_no_socket(jobs: Jobs) -> None:
    with listening_socket("127.0.0.1", 0) as taken:
        started(jobs, answering("web", int(taken.getsockname()[1])))
        until(lambda: last_lines(jobs.log("web"), 1) == ["no socket"])


def test_a_job_without_an_address_gets_no_socket(jobs: Jobs) -> None:
    started(jobs, python("task", ANSWER))
    until(lambda: last_lines(jobs.log("task"), 1) == ["no socket"])


def test_a_socket_is_not_inherited_any_further() -> None:
    with listening_socket("127.0.0.1", 0) as listener:
        number = os.dup(listener.fileno())
        os.set_inheritable(number, True)
        found = inherited_listener({LISTENER: str(number)}, "127.0.0.1")
        assert found is not None
        with found:
            assert (found.getsockname(), found.proto) == (listener.getsockname(), socket.IPPROTO_TCP)
            assert not found.get_inheritable()
