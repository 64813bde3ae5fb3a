"""Start, share, crash and stop of the service of a home, by the commands that users type."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.machine import process_ended
from clearsight_sagemaker.service.app import HEALTH_PATH
from clearsight_sagemaker.service.server import listening
from clearsight_sagemaker.state.home import ServiceHome
from tests.sagemaker.service_process import end_processes

SECONDS = 120.0


class Commands:
    """Commands on one home."""

    def __init__(self, home: Path) -> None:
        self.home = ServiceHome(home)
        self.environment = {**os.environ, "CLEARSIGHT_SAGEMAKER_HOME": str(home), "AWS_PROFILE": "mine"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "clearsight_sagemaker", *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json").stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("home") / "sagemaker")
    yield commands
    commands.run("stop")
    end_processes(commands.home)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_starts_at_once_share_one_service(commands: Commands) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = [*pool.map(lambda _: commands.run("start"), range(2))]
    assert [result.returncode for result in done] == [0, 0], [result.stderr for result in done]
    assert sorted(result.stdout.split()[0] for result in done) == ["already", "serving"]
    assert len({result.stdout.split()[1] for result in done}) == 1


def test_the_service_comes_back_at_the_same_address_after_a_kill(commands: Commands) -> None:
    before = commands.status()
    os.kill(before["process"], signal.SIGKILL)
    until(lambda: commands.status()["url"])
    after = commands.status()
    assert (after["url"], after["process"] != before["process"]) == (before["url"], True)


def test_a_request_after_a_kill_waits_for_the_new_process(commands: Commands) -> None:
    before, identity = commands.status(), commands.home.address()["process"]
    os.kill(before["process"], signal.SIGKILL)
    until(lambda: process_ended(identity))
    with urllib.request.urlopen(before["url"] + HEALTH_PATH, timeout=SECONDS) as response:  # no second try
        assert response.status == 200
    assert commands.status()["process"] != before["process"]


def test_a_start_while_the_supervisor_starts_the_service_again_keeps_the_address(commands: Commands) -> None:
    before, identity = commands.status(), commands.home.address()["process"]
    os.kill(before["process"], signal.SIGKILL)
    until(lambda: process_ended(identity))
    done = commands.run("start")
    assert (done.returncode, done.stdout.split()[1]) == (0, before["url"]), done.stdout + done.stderr


def test_a_program_is_run_with_the_settings_of_the_service(commands: Commands) -> None:
    code = "import json, os, sys; print(json.dumps(dict(os.environ))); sys.exit(7)"
    done = commands.run("exec", "--fast-polling", "--", sys.executable, "-c", code)
    assert done.returncode == 7
    found = json.loads(done.stdout)
    assert found["AWS_ENDPOINT_URL"] == commands.status()["url"]
    assert found["CLEARSIGHT_FAST_POLLING"] == "1"
    assert "AWS_PROFILE" not in found
    assert "TelemetryOptOut: true" in Path(found["SAGEMAKER_USER_CONFIG_OVERRIDE"]).read_text()


def test_a_running_program_uses_the_service_after_activate(commands: Commands) -> None:
    code = """
import sys, urllib.request, os, clearsight_sagemaker
print(clearsight_sagemaker.activate())
print(os.environ["AWS_ENDPOINT_URL"], "AWS_PROFILE" in os.environ)
print(sum(type(finder).__name__ == "SdkFinder" for finder in sys.meta_path), clearsight_sagemaker.activate())
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=commands.environment, capture_output=True, text=True, timeout=SECONDS, check=True)
    url = commands.status()["url"]
    assert done.stdout.splitlines() == [url, f"{url} False", f"1 {url}"]


def test_the_variables_for_a_shell_are_quoted(commands: Commands) -> None:
    done = commands.run("env")
    script = done.stdout + '\nprintf %s "$AWS_SECRET_ACCESS_KEY|${AWS_PROFILE-unset}"'
    shell = subprocess.run(["sh", "-c", script], env=commands.environment, capture_output=True, text=True, check=True)
    assert shell.stdout == f"{commands.home.account({}).secret_key}|unset"


def test_a_stopped_service_keeps_its_port_and_resources(commands: Commands) -> None:
    url = commands.status()["url"]
    request = urllib.request.Request(f"{url}/dogs", method="PUT")
    with urllib.request.urlopen(request) as response:
        assert response.status == 200
    assert commands.run("stop").stdout == "stopped\n"
    assert commands.run("status").returncode == 1
    assert commands.run("stop").stdout == "the service does not run\n"
    assert commands.run("start").stdout.split()[:2] == ["serving", url]
    with urllib.request.urlopen(url) as response:
        assert b"<Name>dogs</Name>" in response.read()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["start", "--host", "0.0.0.0"], "--host 0.0.0.0: without signatures the service listens on this"),
        (["exec", "--", "no-such-program"], "no-such-program: there is no such program on PATH."),
        (["exec", "--job-env", "NAME", "--", "true"], "--job-env NAME: must be NAME=VALUE."),
        (["logs", "no-such-job"], "no-such-job: there is no job and no endpoint of this name."),
    ],
)
def test_a_mistake_is_one_sentence(commands: Commands, words: list[str], sentence: str) -> None:
    done = commands.run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sentence}")
    assert done.stderr.count("\n") == 1


def test_answers_are_sent_without_delay() -> None:
    """asyncio sets TCP_NODELAY for sockets whose protocol is named alone; without it an answer takes 40 ms."""
    with listening("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
