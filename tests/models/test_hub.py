"""One short question to a server of weights: any answer counts, silence costs no more than its time."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from clearsight.models.hub import HubUnreachable, check_reachable, quiet_clients
from tests.models.servers import answering_server, silent_server


@pytest.mark.parametrize("status", [200, 301, 401, 404, 500])
def test_any_answer_of_the_server_counts(status: int) -> None:
    with silent_server() as elsewhere, answering_server(status, elsewhere if status == 301 else "") as url:
        check_reachable(f"{url}/model.pth", seconds=5)  # the redirect is not followed, or this would fail


@pytest.mark.parametrize("status", [502, 503, 504])
def test_the_answer_of_a_gateway_is_none(status: int) -> None:
    with answering_server(status) as url, pytest.raises(HubUnreachable, match=f"HTTP {status}"):
        check_reachable(url)


def test_silence_costs_its_time_and_no_more() -> None:
    with silent_server() as url:
        started = time.monotonic()
        with pytest.raises(HubUnreachable, match=r"127\.0\.0\.1:\d+ cannot be reached: no answer within 0\.2 s"):
            check_reachable(url, seconds=0.2)
    assert 0.2 <= time.monotonic() - started < 1


def test_a_refused_connection_is_said_at_once() -> None:
    with silent_server() as url:
        pass  # closed: its port refuses
    started = time.monotonic()
    with pytest.raises(HubUnreachable, match="Connection refused"):
        check_reachable(url, seconds=5)
    assert time.monotonic() - started < 1


def test_a_name_that_is_never_resolved_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver without a server may take a minute, and takes no time limit."""
    released = threading.Event()

    def resolve(*_: object) -> None:
        released.wait(30)
        raise OSError("released")

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    with pytest.raises(HubUnreachable, match=r"no answer within 0\.2 s"):
        check_reachable("https://example.invalid", seconds=0.2)
    released.set()


def test_the_proxy_is_asked_where_one_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering_server(200) as proxy, silent_server() as url:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        check_reachable("http://weights.invalid/model.pth")  # the proxy answers for it
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(HubUnreachable):
            check_reachable(url, seconds=0.2)


def test_the_clients_are_quiet_only_within_the_block(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("huggingface_hub.utils._http")
    with quiet_clients():
        logger.warning("Retrying in 1s [Retry 1/5].")
    assert not caplog.records
    logger.warning("after")
    assert [record.message for record in caplog.records] == ["after"]
