"""sources: the gauge sources of this machine, without those that it does not have."""

from __future__ import annotations

import subprocess
import time

from clearsight.profiler.gauges import sources
from clearsight.profiler.gauges.source import GaugeSource


def kinds(found: list[GaugeSource]) -> set[str]:
    return {type(source).__name__ for source in found}


def close(found: list[GaugeSource]) -> None:
    for source in found:
        source.close()


def test_every_linux_machine_has_these() -> None:
    found = sources()
    assert {"CpuGauges", "ProcessTreeGauges", "MemoryGauges"} <= kinds(found)
    close(found)


def test_without_a_visible_gpu_there_is_no_gpu_gauge() -> None:
    found = sources(visible=[])
    assert "GpuGauges" not in kinds(found)
    assert not [name for source in found for name in source.read() if name.startswith("gpu")]
    close(found)


def test_a_process_that_does_not_exist_has_no_tree() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    found = sources(child.pid)
    assert "ProcessTreeGauges" not in kinds(found)
    close(found)


def test_values_are_numbers_within_their_range() -> None:
    found = sources()
    samples = []
    for _ in range(2):
        samples.append({name: value for source in found for name, value in source.read().items()})
        until = time.perf_counter() + 0.12
        while time.perf_counter() < until:
            sum(range(1000))
    samples.append({name: value for source in found for name, value in source.read().items()})
    close(found)
    first, last = samples[0], samples[-1]
    assert not first.keys() & {"cpu", "tree.cpu", "disk.read", "net.sent"}, "a rate needs two samples"
    assert {
        "cpu",
        "cpu.iowait",
        "memory",
        "memory.available",
        "tree.cpu",
        "tree.memory",
        "tree.switches",
    } <= last.keys()
    shares = [last[name] for name in last if name in ("cpu", "cpu.iowait", "memory", "swap", "shm", "tree.cpu")]
    assert all(0 <= share <= 100 for share in shares)
    assert all(value >= 0 for value in last.values())
    assert last["tree.cpu"] > 0, "this test kept a core busy"
