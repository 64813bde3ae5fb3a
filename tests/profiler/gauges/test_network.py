"""NetworkGauges: interfaces that lead out of the machine, without loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.profiler.gauges.network import NetworkGauges, net_counters

HEAD = "Inter-|   Receive      |  Transmit\n face |bytes    packets errs drop fifo|bytes    packets errs drop\n"


def dev(root: Path, **received: int) -> None:
    (root / "net").mkdir(exist_ok=True)
    lines = [f"{name:>6}: {count} 1 0 0 0 0 0 0 {count // 2} 1 0 0 0 0 0 0\n" for name, count in received.items()]
    (root / "net/dev").write_text(HEAD + "".join(lines))


def test_bytes_of_an_interface_are_read() -> None:
    text = HEAD + "    lo:    3193      29    0    0    0     0          0         0     77      29    0    0\n"
    assert net_counters(text) == {"lo": (3193, 77)}


def test_loopback_is_left_out(tmp_path: Path) -> None:
    dev(tmp_path, lo=10, eth0=10)
    network = NetworkGauges(proc=tmp_path, sys=tmp_path)
    assert network.read() == {}
    dev(tmp_path, lo=10**9, eth0=210)
    values = network.read()
    assert values["net.received"] / values["net.sent"] == pytest.approx(2)


def test_a_bridge_over_real_hardware_is_not_counted_twice(tmp_path: Path) -> None:
    (tmp_path / "class/net/eth0/device").mkdir(parents=True)
    dev(tmp_path, eth0=10, docker0=10)
    network = NetworkGauges(proc=tmp_path, sys=tmp_path)
    network.read()
    dev(tmp_path, eth0=10, docker0=10**9)
    assert network.read() == {"net.received": 0.0, "net.sent": 0.0}


def test_a_machine_with_loopback_alone_has_no_source(tmp_path: Path) -> None:
    dev(tmp_path, lo=10)
    with pytest.raises(LookupError):
        NetworkGauges(proc=tmp_path, sys=tmp_path)


def test_an_interface_that_was_removed_is_absent(tmp_path: Path) -> None:
    dev(tmp_path, eth0=10)
    network = NetworkGauges(proc=tmp_path, sys=tmp_path)
    dev(tmp_path, lo=10)
    assert network.read() == {}
