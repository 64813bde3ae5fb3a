"""How a Ray cluster is come by, and what is said where there is none."""

from __future__ import annotations

import signal
import socket
import time

import psutil
import pytest

from clearsight.core.errors import BadValue, StudyUnavailable
from tests.tuning.executors.ray_bench import surroundings

pytest.importorskip("ray", reason="the extra clearsight[ray] is not installed")

import ray

from clearsight.tuning.executors.ray_cluster import connect


def test_closing_ends_a_cluster_of_ours_with_all_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # decides nothing: there is no such cluster
    handler = signal.getsignal(signal.SIGTERM)
    before = set(psutil.Process().children(recursive=True))
    with surroundings():
        cluster = connect("")
        started = set(psutil.Process().children(recursive=True)) - before
        cluster.close()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert started
    assert signal.getsignal(signal.SIGTERM) is handler
    assert alive == []
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["ray://127.0.0.1:{}", "127.0.0.1:{}"])
def test_nobody_there_is_one_sentence(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        free = held.getsockname()[1]
    said = address.format(free)
    with pytest.raises(StudyUnavailable, match=rf"^--on {said}: no Ray cluster is there \(Connection refused\)\."):
        connect(said)
    assert not ray.is_initialized()


def test_one_that_listens_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearsight.tuning.executors.ray_cluster._PATIENCE", 0.5)
    monkeypatch.setattr(ray, "init", lambda *_, **__: time.sleep(2))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        said = f"ray://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(StudyUnavailable, match=rf"^--on {said}: Ray cannot connect \(no connection within 0 sec"):
            connect(said)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_server_that_could_not_begin_is_asked_once_more(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def init(url: str, **_: object) -> None:
        asked.append(url)
        if len(asked) <= failures:
            raise ConnectionAbortedError("Initialization failure from server:\nTraceback")

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as there:
        said = f"ray://127.0.0.1:{there.getsockname()[1]}"
        if failures == 1:
            connect(said).close()
        else:
            with pytest.raises(StudyUnavailable, match=r"Ray cannot connect \(Initialization failure from server"):
                connect(said)
    assert asked == [said, said]


@pytest.mark.parametrize("address", ["ray://", "127.0.0.1", "ray://host:port"])
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(BadValue, match="it names no cluster"):
        connect(address)
