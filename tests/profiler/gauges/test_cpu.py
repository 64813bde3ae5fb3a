"""CpuGauges: shares of the time since the sample before, of the cores that a process may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.gauges.cpu import CoreTimes, CpuGauges, allowed_cores, core_times

CORES = sorted(os.sched_getaffinity(0))


def stat(path: Path, busy: int, idle: int, iowait: int = 0) -> None:
    """Write a /proc/stat in which every core did the same. One core more, which this process may not use, was busy."""
    line = f"{busy} 0 0 {idle} {iowait} 0 0 0 0 0"
    lines = [
        f"cpu  {line}",
        *(f"cpu{number} {line}" for number in CORES),
        f"cpu{CORES[-1] + 1} {busy + idle} 0 0 0 0 0 0",
    ]
    (path / "stat").write_text("\n".join([*lines, "intr 1 2 3", "ctxt 99", ""]), encoding="ascii")


def test_shares_are_of_the_time_since_the_sample_before(tmp_path: Path) -> None:
    stat(tmp_path, busy=1000, idle=1000)
    cpu = CpuGauges(proc=tmp_path, sys=tmp_path)
    cpu.read()
    stat(tmp_path, busy=1030, idle=1060, iowait=10)
    values = cpu.read()
    assert values["cpu"] == pytest.approx(30)
    assert values["cpu.iowait"] == pytest.approx(10)
    assert values[f"cpu{CORES[0]}"] == pytest.approx(30)
    assert f"cpu{CORES[-1] + 1}" not in values


def test_the_first_sample_has_no_share(tmp_path: Path) -> None:
    stat(tmp_path, busy=10, idle=10)
    assert "cpu" not in CpuGauges(proc=tmp_path, sys=tmp_path).read()


def test_a_sample_too_soon_is_empty_and_the_next_reaches_back_over_it(tmp_path: Path) -> None:
    stat(tmp_path, busy=0, idle=0)
    cpu = CpuGauges(proc=tmp_path, sys=tmp_path)
    cpu.read()
    stat(tmp_path, busy=1, idle=0)
    assert "cpu" not in cpu.read()
    stat(tmp_path, busy=1, idle=9)
    assert cpu.read()["cpu"] == pytest.approx(10)


def test_a_core_whose_idle_time_was_corrected_is_no_more_than_busy(tmp_path: Path) -> None:
    stat(tmp_path, busy=0, idle=100)
    cpu = CpuGauges(proc=tmp_path, sys=tmp_path)
    cpu.read()
    stat(tmp_path, busy=50, idle=90)
    assert cpu.read()["cpu"] == pytest.approx(100)


def test_the_clock_of_the_driver_is_preferred_to_that_of_cpuinfo(tmp_path: Path) -> None:
    stat(tmp_path, busy=0, idle=0)
    (tmp_path / "cpuinfo").write_text("processor\t: 0\ncpu MHz\t\t: 2000.5\n\ncpu MHz\t\t: 1000.5\n")
    assert CpuGauges(proc=tmp_path, sys=tmp_path).read()["cpu.clock"] == pytest.approx(1500.5)
    for number in CORES:
        folder = tmp_path / f"devices/system/cpu/cpu{number}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text("3100000\n")
    assert CpuGauges(proc=tmp_path, sys=tmp_path).read()["cpu.clock"] == pytest.approx(3100)


def test_without_a_clock_the_gauge_is_absent(tmp_path: Path) -> None:
    stat(tmp_path, busy=0, idle=0)
    assert "cpu.clock" not in CpuGauges(proc=tmp_path, sys=tmp_path).read()


def test_without_a_core_there_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("intr 1\n")
    with pytest.raises(LookupError):
        CpuGauges(proc=tmp_path, sys=tmp_path)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(st.integers(0, 300), st.lists(st.integers(0, 10**12), min_size=8, max_size=10), max_size=8))
def test_every_core_of_proc_stat_is_read(cores: dict[int, list[int]]) -> None:
    text = "cpu  1 2 3 4 5 6 7 8\n" + "".join(f"cpu{n} {' '.join(map(str, ticks))}\n" for n, ticks in cores.items())
    assert core_times(text) == {n: CoreTimes(sum(t[:8]), t[3], t[4]) for n, t in cores.items()}


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    assert all(times.total >= times.idle + times.iowait >= 0 for times in core_times(text).values())


# Cores that a process may use


def test_allowed_cores_of_this_process() -> None:
    assert set(allowed_cores()) == os.sched_getaffinity(0)


def test_allowed_cores_of_a_process_that_was_given_one() -> None:
    core = max(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{core}]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert allowed_cores(child.pid) == (core,)
        child.communicate(b"\n")


def test_allowed_cores_of_a_process_that_does_not_exist() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    with pytest.raises(ProcessLookupError):
        allowed_cores(child.pid)
