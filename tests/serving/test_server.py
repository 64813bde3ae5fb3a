"""The server process: ports, signals and deadlines. It never imports torch."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Pixels
from clearsight.core.errors import BadValue
from clearsight.serving.app import build_app
from clearsight.serving.payload import Prepared
from clearsight.serving.predictor import Predictor
from clearsight.serving.server import background, listening, url
from clearsight.serving.service import Service
from clearsight.testing.mean_colour import prepare
from clearsight.testing.serving import serving

SCRIPT = """
import sys
from pathlib import Path

import numpy as np

from clearsight.core.bundle import Bundle
from clearsight.serving.app import build_app
from clearsight.serving.predictor import load
from clearsight.serving.server import serve
from clearsight.serving.service import Service

bundle = Bundle.open(Path(sys.argv[1]))
size = bundle.preprocess.size
app = build_app(Service(load(bundle, lambda raw: np.zeros((3, size, size), np.float32))))
serve(app, on_ready=lambda url: print(url, flush=True))
heavy = {"torch", "torchvision", "timm", "sklearn", "pandas"} & sys.modules.keys()
print("stopped in good order, with", sorted(heavy), flush=True)
"""


def fetch(url: str) -> tuple[int, str]:
    """Send a GET request with a client that closes its connection after each request."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as response:
        return response.status, response.read().decode()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_server_process_stops_in_good_order_and_never_loads_torch(bundle: Bundle, ending: signal.Signals) -> None:
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(bundle.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert fetch(f"{address}/ping")[0] == 200
            process.send_signal(ending)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "stopped in good order, with []\n", "")


def test_importing_the_package_loads_nothing_heavy() -> None:
    modules = "app, batcher, codecs, error_responses, negotiation, payload, predictor, request_body, service"
    script = (
        f"import sys; from clearsight.serving import {modules}; "
        "print(sorted({'torch', 'onnxruntime', 'openvino', 'PIL', 'uvicorn'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_free_port_is_found_and_the_url_is_real(predictor: Predictor) -> None:
    with background(build_app(Service(predictor))) as first, background(build_app(Service(predictor))) as second:
        assert first != second
        assert fetch(f"{first}/ping")[0] == fetch(f"{second}/ping")[0] == 200
    with pytest.raises(urllib.error.URLError):
        fetch(f"{first}/ping")


def test_a_used_port_is_named(client: httpx.Client, predictor: Predictor) -> None:
    port = client.base_url.port
    with (
        pytest.raises(BadValue, match=rf"^port {port}: another program listens on it at 127\.0\.0\.1"),
        background(build_app(Service(predictor)), port=port),
    ):
        pytest.fail("two servers on one port")


@pytest.mark.parametrize(
    ("host", "port", "sentence"),
    [
        ("no such host", 0, "it is no address of this machine"),
        ("203.0.113.7", 0, "it is not an address of this machine"),
        ("127.0.0.1", 70_000, "from 0 to 65535"),
        ("127.0.0.1", -1, "from 0 to 65535"),
    ],
)
def test_an_impossible_address_is_refused_with_a_way_out(host: str, port: int, sentence: str) -> None:
    with pytest.raises(BadValue, match=sentence), listening(host, port):
        pytest.fail("it listens")


def test_the_url_is_one_that_a_browser_on_this_machine_opens() -> None:
    with listening("0.0.0.0", 0) as any_interface:
        assert url(any_interface) == f"http://127.0.0.1:{any_interface.getsockname()[1]}"
    if socket.has_ipv6:
        with listening("::1", 0) as six:
            assert url(six) == f"http://[::1]:{six.getsockname()[1]}"


@pytest.mark.parametrize("sent", [b"", b"POST /invocations HT", b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\nGET /pi"])
def test_a_connection_that_never_finishes_its_head_is_closed(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("clearsight.serving.server._HEAD_SECONDS", 0.2)
    monkeypatch.setattr("clearsight.serving.server._IDLE_SECONDS", 0.2)
    with serving(predictor) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(sent)
            response = b"".join(iter(lambda: connection.recv(4096), b""))
        assert response.count(b"HTTP/1.1 200") == sent.count(b"\r\n\r\n")
        assert client.get("/ping").status_code == 200


def test_a_slow_response_is_not_cut_off_by_the_deadline_of_the_head(
    predictor: Predictor, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearsight.serving.server._HEAD_SECONDS", 0.1)
    pause = threading.Event()

    def slow(raw: bytes | Pixels) -> Prepared:
        pause.wait(0.4)
        return prepare(raw)

    with serving(replace(predictor, prepare=slow)) as client:
        assert client.post("/invocations", content=photo).status_code == 200


def test_an_app_that_does_not_start_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    @contextlib.asynccontextmanager
    async def broken(app: Starlette) -> AsyncIterator[None]:
        raise ZeroDivisionError("no start")
        yield

    with pytest.raises(RuntimeError, match="did not start"), background(Starlette(lifespan=broken)):
        pytest.fail("it runs")
    assert "no start" in caplog.text
