"""Connection to a Ray cluster: a new one, or one that runs already."""

from __future__ import annotations

import signal
import socket
import time

import psutil
import pytest

from clearsight.core.errors import BadValue, StudyUnavailable
from tests.tuning.executors.ray_environment import ray_environment

pytest.importorskip("ray", reason="the extra clearsight[ray] is not installed")

import ray
from ray._common.usage import usage_lib

from clearsight.tuning.executors.ray_cluster import connect


def test_close_ends_a_new_cluster_with_all_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # ignored: there is no such cluster
    handler = signal.getsignal(signal.SIGTERM)
    before = set(psutil.Process().children(recursive=True))
    with ray_environment():
        monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
        cluster = connect("")
        reports = usage_lib.usage_stats_enabled()
        started = set(psutil.Process().children(recursive=True)) - before
        cluster.close()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert started
    assert signal.getsignal(signal.SIGTERM) is handler
    assert alive == []
    assert not ray.is_initialized()
    assert not reports, "a new cluster would report its use over the network"


@pytest.mark.parametrize("address", ["ray://127.0.0.1:{}", "127.0.0.1:{}"])
def test_a_missing_cluster_is_one_sentence(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        free = held.getsockname()[1]
    target = address.format(free)
    with pytest.raises(StudyUnavailable, match=rf"^--on {target}: no Ray cluster is there \(Connection refused\)\."):
        connect(target)
    assert not ray.is_initialized()


def test_a_silent_host_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearsight.tuning.executors.ray_cluster._PATIENCE", 0.5)
    monkeypatch.setattr(ray, "init", lambda *_, **__: time.sleep(2))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        target = f"ray://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(StudyUnavailable, match=rf"^--on {target}: Ray cannot connect \(no connection within 0 sec"):
            connect(target)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_server_that_fails_to_start_is_tried_twice(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []

    def init(url: str, **_: object) -> None:
        urls.append(url)
        if len(urls) <= failures:
            raise ConnectionAbortedError("Initialization failure from server:\nTraceback")

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"ray://127.0.0.1:{server.getsockname()[1]}"
        if failures == 1:
            connect(target).close()
        else:
            with pytest.raises(StudyUnavailable, match=r"Ray cannot connect \(Initialization failure from server"):
                connect(target)
    assert urls == [target, target]


@pytest.mark.parametrize("address", ["ray://", "127.0.0.1", "ray://host:port"])
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(BadValue, match="not the address of a cluster"):
        connect(address)
