"""A service in a process of its own, to be killed, and clients of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

from botocore.config import Config
from botocore.session import Session

from clearsight.core.machine import process_ended
from clearsight.jobs.process import kill_group
from clearsight.jobs.store import JobStore
from clearsight_sagemaker.service.lifecycle import running_url
from clearsight_sagemaker.service.server import listening
from clearsight_sagemaker.state.home import ServiceHome

SECONDS = 120.0


class ServiceProcess:
    """A service whose training jobs train nothing. port: 0 for any."""

    def __init__(self, home: ServiceHome, port: int = 0, *, wait: bool = True) -> None:
        self._home = home
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sagemaker.clients.fake_service", str(home.folder), str(port)]
        )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + SECONDS
        while not running_url(self._home):
            assert time.monotonic() < end
            assert self._process.poll() is None

    @property
    def client(self) -> Any:
        """Client of SageMaker."""
        return client_of(self._home.address()["url"], "sagemaker")

    def kill(self) -> None:
        """Kill it as the kernel does."""
        self._process.kill()
        self._process.wait()


def client_of(url: str, service: str, attempts: int = 0) -> Any:
    """Return a client of botocore. attempts: after the first one."""
    retries = {"max_attempts": attempts, "mode": "standard"} if attempts else {"max_attempts": 0}
    return Session().create_client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries=retries, s3={"addressing_style": "path"}),
    )


def free_port() -> int:
    """Return a port that nothing listens on."""
    with listening("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def end_processes(home: ServiceHome) -> None:
    """End the supervisor of a home, and kill the jobs and model servers that outlive it by design."""
    if not home.processes.is_dir():
        return
    store = JobStore(home.processes)
    supervisor = store.supervisor
    if supervisor and not process_ended(supervisor):
        os.kill(supervisor["pid"], signal.SIGTERM)
        end = time.monotonic() + SECONDS
        while not process_ended(supervisor):
            assert time.monotonic() < end
            time.sleep(0.02)
    for job in store.jobs():
        if job.state.process and not process_ended(job.state.process):
            kill_group(job.state.process)
    store.close()
