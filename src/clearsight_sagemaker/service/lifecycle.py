"""Start, stop and find the service of a home. It runs under the supervisor of jobs, which restarts it after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from clearsight.core.errors import ClearsightError, NotFound
from clearsight.core.machine import process_ended
from clearsight.jobs.client import Jobs, jobs_of
from clearsight.jobs.job import HealthCheck, JobSpec, JobStatus
from clearsight_sagemaker.endpoints.deployment import PROCESS_PREFIX
from clearsight_sagemaker.service.app import HEALTH_PATH
from clearsight_sagemaker.service.server import ServiceOptions, listening
from clearsight_sagemaker.state.home import ServiceHome

PROCESS = "service"  # name among the processes of a home
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_ANSWER_SECONDS = 5.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class ServiceAddress:
    """Address of a service. is_new: started by this call."""

    url: str
    is_new: bool = False


def start_service(options: ServiceOptions, environment: Mapping[str, str]) -> ServiceAddress:
    """Start the service of a home and return when it answers; one that runs already is shared.

    environment: of the process of the service. Raises ClearsightError where it does not start.
    """
    home = ServiceHome(options.home)
    home.create()
    with _start_lock(home), jobs_of(home.processes) as processes:
        if url := running_url(home):
            return ServiceAddress(url=url)
        port = options.port or _port(options.host, int(home.address().get("port", 0)), processes)
        generation = processes.start(_spec(options, home, port, environment))
        job = processes.wait(PROCESS, generation, _START_SECONDS)
        if job.state.status is not JobStatus.RUNNING:
            processes.stop(PROCESS)
            reason = job.state.reason or f"it did not answer within {_START_SECONDS:g} s"
            fix = f"Its log is {service_log(home)}."
            raise ClearsightError("clearsight sagemaker start", f"the service did not start: {reason}", fix=fix)
    return ServiceAddress(url=home.address()["url"], is_new=True)


def stop_service(home: ServiceHome) -> bool:
    """Stop the service of a home; return False where none runs.

    Jobs go on. Model servers of endpoints end, which nobody could reach: the next start starts them again.
    """
    home.create()
    with _start_lock(home), jobs_of(home.processes) as processes:
        is_stopped = _stop_process(home, processes)
        for job in processes.all():
            if job.spec.name.startswith(PROCESS_PREFIX):
                processes.remove(job.spec.name)
        return is_stopped


def _stop_process(home: ServiceHome, processes: Jobs) -> bool:
    """Stop the process of the service; return False where none runs."""
    if _is_supervised(processes):
        processes.stop(PROCESS)
        return True
    identity = home.address().get("process") or {}
    if not identity or process_ended(identity):
        return False
    os.kill(identity["pid"], signal.SIGTERM)  # it runs in a terminal: `start --foreground`
    end = time.monotonic() + _STOP_SECONDS
    while not process_ended(identity):
        if time.monotonic() > end:
            problem = f"process {identity['pid']} did not end within {_STOP_SECONDS:g} s"
            raise ClearsightError("clearsight sagemaker stop", problem)
        time.sleep(_POLL_SECONDS)
    return True


def running_url(home: ServiceHome) -> str:
    """Return the address of the service of a home, "" where none answers."""
    address = home.address()
    if not address or process_ended(address["process"]):
        return ""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address["url"] + HEALTH_PATH, timeout=_ANSWER_SECONDS) as response:
            return str(address["url"]) if response.status == 200 else ""
    except (urllib.error.URLError, OSError):
        return ""


def service_log(home: ServiceHome) -> Path:
    """Return the log of the service."""
    return home.processes / "logs" / f"{PROCESS}.log"


def _is_supervised(processes: Jobs) -> bool:
    with contextlib.suppress(NotFound):
        return not processes.get(PROCESS).state.status.ended
    return False


def _spec(options: ServiceOptions, home: ServiceHome, port: int, environment: Mapping[str, str]) -> JobSpec:
    replace(options, home=home.folder, port=port).write()
    host = "127.0.0.1" if options.host == "0.0.0.0" else options.host
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{HEALTH_PATH}"
    return JobSpec(
        name=PROCESS,
        # -P: no module of the home.
        command=(sys.executable, "-P", "-m", "clearsight_sagemaker.service", str(home.folder)),
        folder=home.folder,
        environment=_without_aws(environment),
        restart="on-failure",
        health=HealthCheck(url=url, start_seconds=_START_SECONDS),
        listen=(options.host, port),
        stop_seconds=_STOP_SECONDS,
    )


def _without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without credentials and addresses of AWS, which the service has no use for."""
    regions = ("AWS_REGION", "AWS_DEFAULT_REGION")
    return {name: value for name, value in environment.items() if not name.startswith("AWS_") or name in regions}


def _port(host: str, before: int, processes: Jobs) -> int:
    """Return the port that the service had before, so that clients find it again, or any free one."""
    if before:
        with contextlib.suppress(ClearsightError), listening(host, before):
            return before
        # A supervisor that starts the service again listens there already. It goes on with the new spec.
        if _is_supervised(processes) and processes.get(PROCESS).spec.listen == (host, before):
            return before
    with listening(host, 0) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _start_lock(home: ServiceHome) -> Iterator[None]:
    """Hold the lock under which the service of a home is started and stopped; wait for whoever holds it."""
    with (home.folder / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
