"""memory_limit: the tightest of the control groups of a process, in both versions."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.gauges.memory_limit import limit_of, memory_groups, memory_limit

GIB = 1 << 30
UNLIMITED = str((1 << 63) - 4096)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return root


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
