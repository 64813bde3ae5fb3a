"""A home for jobs, emptied after each test: no process of a test outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.machine import process_ended
from clearsight.jobs.client import Jobs
from clearsight.jobs.job import JobSpec

# A web server that answers 200 at any path, starts a child of its own, and writes both PIDs into its log.
SERVER = """
import http.server, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("pids", os.getpid(), child.pid, flush=True)
server.serve_forever()
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """Jobs of a new home; all are removed at the end and the supervisor is ended."""
    jobs = Jobs(tmp_path / "home")
    yield jobs
    for job in jobs.all():
        jobs.remove(job.spec.name)
    end_supervisor(jobs, signal.SIGTERM)
    jobs.close()


def end_supervisor(jobs: Jobs, number: int) -> None:
    """Send a signal to the supervisor and wait until it is over."""
    identity = jobs._store.supervisor
    if identity and not process_ended(identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity["pid"], number)
        until(lambda: process_ended(identity))


def python(name: str, code: str, *arguments: str, **settings: Any) -> JobSpec:
    """Return a job that runs Python code."""
    return JobSpec(name=name, command=(sys.executable, "-c", code, *arguments), folder=Path("/"), **settings)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition; fail the test if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
