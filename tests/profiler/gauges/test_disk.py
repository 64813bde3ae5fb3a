"""DiskGauges: drives with hardware behind them, each counted once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.gauges.disk import DiskGauges, disk_counters


def stats(root: Path, sectors: int) -> None:
    lines = [f"   8  0 {name} 10 0 {sectors} 5 20 0 {2 * sectors} 7 0 1 2" for name in ("sda", "sda1", "dm-0", "loop0")]
    (root / "diskstats").write_text("\n".join(lines) + "\n")


def test_a_drive_counts_once_with_its_partitions_and_volumes(tmp_path: Path) -> None:
    (tmp_path / "block/sda/device").mkdir(parents=True)
    (tmp_path / "block/dm-0").mkdir()
    stats(tmp_path, 100)
    disk = DiskGauges(proc=tmp_path, sys=tmp_path)
    assert disk.read() == {}
    stats(tmp_path, 300)
    values = disk.read()
    assert values["disk.write"] / values["disk.read"] == pytest.approx(2)
    assert values["disk.reads"] == values["disk.writes"] == 0


def test_bytes_are_sectors_of_512() -> None:
    counters = disk_counters("8 0 sda 10 0 100 5 20 0 200 7 0 1 2\n")
    assert counters == {"sda": {"disk.read": 51200, "disk.write": 102400, "disk.reads": 10, "disk.writes": 20}}


def test_a_machine_without_drives_has_no_source(tmp_path: Path) -> None:
    stats(tmp_path, 1)
    with pytest.raises(LookupError):
        DiskGauges(proc=tmp_path, sys=tmp_path)


def test_a_drive_that_was_unplugged_is_absent(tmp_path: Path) -> None:
    (tmp_path / "block/sda/device").mkdir(parents=True)
    stats(tmp_path, 1)
    disk = DiskGauges(proc=tmp_path, sys=tmp_path)
    (tmp_path / "diskstats").write_text("")
    assert disk.read() == {}


@pytest.mark.skipif(not os.path.exists("/proc/diskstats"), reason="this system has no /proc/diskstats")
def test_every_line_of_this_machine_is_read() -> None:
    lines = Path("/proc/diskstats").read_text(encoding="ascii").splitlines()
    assert len(disk_counters("\n".join(lines))) == len(lines)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.text(alphabet="sda 0123456789\n-²", max_size=100))
def test_no_text_raises(text: str) -> None:
    assert all(value >= 0 for drive in disk_counters(text).values() for value in drive.values())
