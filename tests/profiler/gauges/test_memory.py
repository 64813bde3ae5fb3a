"""MemoryGauges: of the machine, or of the container's limit, which is the tightest of its control groups."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.gauges.memory import (
    MemoryGauges,
    MemoryLimit,
    limit_of,
    meminfo,
    memory_groups,
    memory_limit,
    tighter,
)

KIB, GIB = 1 << 10, 1 << 30
UNLIMITED = str((1 << 63) - 4096)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return root


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


# Limits


def test_limit_and_use_of_version_2(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/user/job"
    stat = f"anon 1\ninactive_file {GIB}\nactive_file 5"
    files = {"memory.max": str(4 * GIB), "memory.current": str(3 * GIB), "memory.stat": stat}
    write(tmp_path, {"proc/self/cgroup": "0::/user/job", **{f"{group}/{name}": text for name, text in files.items()}})
    limit = memory_limit(root=tmp_path)
    assert limit is not None
    assert (limit.bytes, limit.used()) == (4 * GIB, 2 * GIB)


def test_limit_and_use_of_version_1(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/docker/abc"
    write(
        tmp_path,
        {
            "proc/77/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/",
            f"{group}/memory.limit_in_bytes": str(2 * GIB),
            f"{group}/memory.usage_in_bytes": str(GIB),
            f"{group}/memory.stat": f"inactive_file 9\ntotal_inactive_file {GIB // 4}",
        },
    )
    limit = memory_limit(77, root=tmp_path)
    assert limit is not None
    assert (limit.bytes, limit.used()) == (2 * GIB, GIB - GIB // 4)


def test_an_outer_group_may_be_tighter(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/outer/inner", "sys/fs/cgroup/outer/memory.max": str(GIB)}
    write(tmp_path, {**files, "sys/fs/cgroup/outer/inner/memory.max": str(2 * GIB)})
    limit = memory_limit(root=tmp_path)
    assert limit is not None
    assert limit.bytes == GIB


def test_a_container_that_sees_its_group_as_the_topmost(tmp_path: Path) -> None:
    """The listing names a path of the host, which does not exist in the container."""
    write(tmp_path, {"proc/self/cgroup": "0::/../../docker/abc", "sys/fs/cgroup/memory.max": str(GIB)})
    limit = memory_limit(root=tmp_path)
    assert limit is not None
    assert limit.bytes == GIB


@pytest.mark.parametrize("listing", ["", "0::/", "4:memory:/"])
def test_a_group_without_a_limit(tmp_path: Path, listing: str) -> None:
    unlimited = {"sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED}
    write(tmp_path, {"proc/self/cgroup": listing, **unlimited})
    assert memory_limit(root=tmp_path) is None


def test_a_process_without_control_groups(tmp_path: Path) -> None:
    assert memory_limit(root=tmp_path) is None


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("max\n", None), ("1073741824\n", GIB), (UNLIMITED, None), ("", None), ("-1", None), ("x", None)],
)
def test_limit_of_a_file(text: str, bytes_: int | None) -> None:
    assert limit_of(text) == bytes_


paths = st.lists(st.from_regex(r"[a-z0-9:._@-]{1,8}", fullmatch=True).filter(lambda s: s != "."), max_size=4).map(
    lambda parts: PurePosixPath("/", *parts)
)
controllers = st.lists(st.sampled_from(["cpu", "cpuacct", "pids", "name=systemd"]), max_size=3, unique=True)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(paths, paths, controllers, st.booleans())
def test_every_memory_group_of_a_listing_is_read(
    old: PurePosixPath, new: PurePosixPath, others: list[str], hybrid: bool
) -> None:
    named = ",".join([*others, "memory"])
    text = f"9:{','.join(others) or 'cpu'}:/x:y\n4:{named}:{old}\n" + (f"0::{new}\n" if hybrid else "")
    assert memory_groups(text) == [(1, old), *([(2, new)] if hybrid else [])]


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.text(alphabet="0:,/memory\n.\0é", max_size=80))
def test_no_listing_raises(text: str) -> None:
    assert all(path.is_absolute() for _, path in memory_groups(text))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=30))
def test_no_limit_raises(text: str) -> None:
    limit = limit_of(text)
    assert limit is None or 0 <= limit < 1 << 62
