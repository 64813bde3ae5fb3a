"""Cores are those of this process, versions those of installed packages, and the processor has a name."""

import os
import subprocess
import sys

from clearsight.core.machine import cores, hardware, installed, versions


def test_cores_are_those_that_this_process_may_use() -> None:
    assert cores() == len(os.sched_getaffinity(0))
    core = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{core}]); from clearsight.core.machine import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_versions_leave_out_packages_that_are_not_installed() -> None:
    found = versions(["numpy", "surely-not-installed"])
    assert set(found) == {"python", "numpy"}
    assert installed("surely-not-installed") is None


def test_hardware_names_the_processor() -> None:
    assert hardware()["cores"] == cores()
    assert hardware()["processor"]
