"""Real clients, from an environment of their own that `make clients` creates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.machine import process_ended
from clearsight.jobs.store import JobStore
from clearsight_sagemaker.clients.environment import client_environment
from clearsight_sagemaker.service.lifecycle import running_url
from clearsight_sagemaker.state.home import ServiceHome
from tests.sagemaker.client_folder import client_folder
from tests.sagemaker.service_process import end_processes

SECONDS = 120.0


class Clients:
    """Programs of the client environment, led to a service."""

    def __init__(self, folder: Path, environment: dict[str, str], work: Path) -> None:
        self._folder, self._environment, self.work = folder, environment, work

    def aws(self, *words: str) -> Any:
        """Return what `aws` prints, which is JSON."""
        text = self.run("aws", *words)
        return json.loads(text) if text else {}

    def python(self, code: str) -> str:
        """Return what a program with the SDK prints."""
        return self.run("python", "-c", code)

    def popen(self, program: str, *words: str, **streams: Any) -> subprocess.Popen[str]:
        """Return a program that runs. streams: stdin and stderr of it, None and a pipe by default."""
        return subprocess.Popen(
            [str(self._folder / "bin" / program), *words],
            env=self._environment,
            cwd=self.work,
            stdout=subprocess.PIPE,
            text=True,
            **{"stderr": subprocess.PIPE, **streams},
        )

    def run(self, program: str, *words: str, seconds: float = SECONDS) -> str:
        """Return what a program prints; a failure fails the test."""
        done = subprocess.run(
            [str(self._folder / "bin" / program), *words],
            env=self._environment,
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


LOOPBACK = Path(__file__).with_name("loopback")


class RealService:
    """A service whose jobs train, under its supervisor, and clients that reach no other host."""

    def __init__(self, home: ServiceHome, folder: Path, work: Path) -> None:
        self.home, self._work = home, work
        self._command = [sys.executable, "-m", "clearsight_sagemaker"]
        self.start()
        self._hosts = work / "hosts.txt"
        url = str(home.address()["url"])
        plain = {"PATH": os.environ["PATH"], "HOME": str(home.folder), "PYTHONPATH": str(LOOPBACK)}
        environment = client_environment(home, url, plain, fast_polling=True)
        self.clients = Clients(folder, {**environment, "CLEARSIGHT_TEST_HOSTS": str(self._hosts)}, work)

    def start(self) -> None:
        """Start the service, or share the one that runs."""
        self._run("start", "--max-jobs", "2")

    def stop(self) -> None:
        """Stop the service and all that it has started."""
        self._run("stop")
        end_processes(self.home)

    def kill(self) -> None:
        """Kill the process of the service."""
        identity = self.home.address()["process"]
        os.kill(identity["pid"], signal.SIGKILL)
        while not process_ended(identity):
            time.sleep(0.01)

    def kill_supervisor(self) -> None:
        """Kill the process that starts the service and jobs again."""
        store = JobStore(self.home.processes)
        identity = store.supervisor
        store.close()
        os.kill(identity["pid"], signal.SIGKILL)
        while not process_ended(identity):
            time.sleep(0.01)

    def wait_for_answer(self) -> None:
        """Wait until the service answers."""
        end = time.monotonic() + SECONDS
        while not running_url(self.home):
            assert time.monotonic() < end
            time.sleep(0.02)

    def hosts(self) -> str:
        """Return the other hosts that clients tried to reach."""
        return self._hosts.read_text() if self._hosts.exists() else ""

    def _run(self, word: str, *words: str) -> None:
        command = [*self._command, word, *words, "--home", str(self.home.folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    """A service whose jobs train."""
    folder = client_folder()
    home = ServiceHome(tmp_path_factory.mktemp("home") / "sagemaker")
    service = RealService(home, folder, tmp_path_factory.mktemp("work"))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """Clients of a service whose jobs train nothing."""
    folder = client_folder()
    home = ServiceHome(tmp_path_factory.mktemp("home") / "sagemaker")
    service = subprocess.Popen([sys.executable, "-m", "tests.sagemaker.clients.fake_service", str(home.folder)])
    try:
        end = time.monotonic() + SECONDS
        while not (url := running_url(home)):
            assert time.monotonic() < end
            assert service.poll() is None
            time.sleep(0.05)
        plain = {"PATH": os.environ["PATH"], "HOME": str(home.folder)}
        yield Clients(folder, client_environment(home, url, plain, fast_polling=True), tmp_path_factory.mktemp("work"))
    finally:
        service.terminate()
        service.wait()
        end_processes(home)
