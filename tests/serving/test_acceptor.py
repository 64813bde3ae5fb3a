"""Connections within the limits of the system: idle ones are closed first, and every refusal is JSON."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Pixels
from clearsight.serving.acceptor import connection_limit
from clearsight.serving.payload import Prepared
from clearsight.serving.predictor import Predictor
from clearsight.testing.mean_colour import prepare
from clearsight.testing.serving import serving

FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import logging
from pathlib import Path
from clearsight.core.bundle import Bundle
from clearsight.serving.app import build_app
from clearsight.serving.predictor import load
from clearsight.serving.server import serve
from clearsight.serving.service import Service
from clearsight.testing.mean_colour import prepare

import clearsight.serving.acceptor
clearsight.serving.acceptor._RESERVED = int(sys.argv[2])
logging.basicConfig(stream=sys.stderr)
app = build_app(Service(load(Bundle.open(Path(sys.argv[1])), prepare)))
serve(app, on_ready=lambda url: print(url, flush=True))
"""


@contextlib.contextmanager
def idle_connections(address: tuple[str, int], count: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(address, timeout=20))
        yield


def address_of(client: httpx.Client) -> tuple[str, int]:
    return client.base_url.host, client.base_url.port or 0


def test_idle_connections_make_room_for_a_request(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearsight.serving.server._CONNECTIONS", 8)
    with serving(predictor) as client, idle_connections(address_of(client), 40):
        assert client.get("/ping").status_code == 200


def test_a_connection_beyond_busy_ones_is_refused_as_json(
    predictor: Predictor, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearsight.serving.server._CONNECTIONS", 2)
    entered, may_continue = threading.Semaphore(0), threading.Event()

    def slow(raw: bytes | Pixels) -> Prepared:
        if raw == photo:  # not the test image of the start
            entered.release()
            assert may_continue.wait(20)
        return prepare(raw)

    with serving(replace(predictor, prepare=slow), decoders=2) as client:
        url, answers = str(client.base_url), []
        senders = [
            threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/invocations", content=photo, timeout=20)))
            for _ in range(2)
        ]
        for sender in senders:
            sender.start()
        for _ in senders:
            assert entered.acquire(timeout=20)
        with socket.create_connection(address_of(client), timeout=20) as connection:
            response = b"".join(iter(lambda: connection.recv(4096), b""))
        head, _, body = response.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in head
        assert "too many connections" in json.loads(body)["error"]
        may_continue.set()
        for sender in senders:
            sender.join(20)
        assert [answer.status_code for answer in answers] == [200, 200]


def test_what_is_no_http_is_refused_as_json(client: httpx.Client) -> None:
    with socket.create_connection(address_of(client), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01 no http\r\n\r\n")
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "could not be parsed" in json.loads(body)["error"]


@pytest.mark.parametrize("reserved", [32, -1000], ids=["reserved", "out of descriptors"])
def test_a_server_with_few_file_descriptors_answers_and_logs_little(bundle: Bundle, reserved: int) -> None:
    """`reserved` -1000: the server knows no limit, so that the system's own errors are met."""
    command = [sys.executable, "-c", FEW_FILES, str(bundle.path), str(reserved)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = httpx.URL(process.stdout.readline().strip())
            with idle_connections((url.host, url.port or 0), 150):
                assert httpx.get(url.join("/ping"), timeout=20, trust_env=False).status_code == 200
        finally:
            process.terminate()
            log = process.communicate(timeout=30)[1]
    assert len(log.splitlines()) < 10
    assert "Traceback" not in log


def test_the_limit_of_connections_follows_the_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: None)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, 100))
    assert 1 <= connection_limit(512) < 70
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, 4096))
    assert connection_limit(512) == 512
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert connection_limit(512) == 512
