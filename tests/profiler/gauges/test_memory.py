"""MemoryGauges: of the machine, or of the container's limit."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.gauges.memory import MemoryGauges, meminfo, tighter
from clearsight.profiler.gauges.memory_limit import MemoryLimit
from tests.profiler.gauges.test_memory_limit import GIB, write

KIB = 1024


def machine(
    root: Path, *, available: int, swap: tuple[int, int] = (0, 0), group: tuple[int, int] | None = None
) -> Path:
    """Write the files of a machine of 16 GiB.

    In bytes; swap: total and free; group: limit and use of the process's control group.
    """
    lines = {
        "MemTotal": 16 * GIB,
        "MemFree": 1 * GIB,
        "MemAvailable": available,
        "SwapTotal": swap[0],
        "SwapFree": swap[1],
    }
    files = {"proc/meminfo": "\n".join(f"{name + ':':15} {value // KIB} kB" for name, value in lines.items())}
    if group:
        files |= {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": str(group[0])}
        files |= {"sys/fs/cgroup/memory.current": str(group[1]), "sys/fs/cgroup/memory.stat": "inactive_file 0"}
    return write(root, files)


def test_memory_of_the_machine(tmp_path: Path) -> None:
    values = MemoryGauges(root=machine(tmp_path, available=4 * GIB)).read()
    assert values == {"memory": pytest.approx(75), "memory.available": 4 * GIB}


def test_memory_of_a_container(tmp_path: Path) -> None:
    values = MemoryGauges(root=machine(tmp_path, available=12 * GIB, group=(8 * GIB, 2 * GIB))).read()
    assert values == {"memory": pytest.approx(25), "memory.available": 6 * GIB}


def test_a_container_on_a_machine_that_is_nearly_full(tmp_path: Path) -> None:
    values = MemoryGauges(root=machine(tmp_path, available=1 * GIB, group=(8 * GIB, 2 * GIB))).read()
    assert values["memory.available"] == 1 * GIB


def test_a_limit_above_the_machines_memory_is_ignored(tmp_path: Path) -> None:
    values = MemoryGauges(root=machine(tmp_path, available=4 * GIB, group=(64 * GIB, 2 * GIB))).read()
    assert values["memory"] == pytest.approx(75)


def test_swap_is_a_share_of_the_total(tmp_path: Path) -> None:
    values = MemoryGauges(root=machine(tmp_path, available=4 * GIB, swap=(2 * GIB, GIB))).read()
    assert values["swap"] == pytest.approx(50)


def test_shared_memory_is_a_share_of_dev_shm(tmp_path: Path) -> None:
    root = machine(tmp_path, available=4 * GIB)
    (root / "dev/shm").mkdir(parents=True)
    assert 0 <= MemoryGauges(root=root).read()["shm"] <= 100


def test_memory_of_this_machine() -> None:
    values = MemoryGauges().read()
    assert 0 < values["memory"] < 100
    assert values["memory.available"] <= psutil.virtual_memory().total


def test_only_a_limit_below_the_machines_memory_is_tighter() -> None:
    limit = MemoryLimit(GIB, Path("/"), 2)
    assert tighter(limit, 2 * GIB) is limit
    assert tighter(limit, GIB) is None
    assert tighter(None, GIB) is None


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(st.from_regex(r"[A-Z][A-Za-z0-9_]{0,10}", fullmatch=True), st.integers(0, 1 << 40), max_size=8))
def test_every_amount_of_proc_meminfo_is_read(amounts: dict[str, int]) -> None:
    text = "".join(f"{name}:   {kib} kB\n" for name, kib in amounts.items()) + "HugePages_Total:    3\n"
    assert meminfo(text) == {name: kib * KIB for name, kib in amounts.items()}
