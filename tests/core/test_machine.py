"""Facts about the machine come without importing what they are about."""

import os
import subprocess
import sys

from clearsight.core.machine import cores, hardware, installed, versions


def test_cores_are_those_that_may_be_used() -> None:
    assert cores() == len(os.sched_getaffinity(0))
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); from clearsight.core.machine import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_versions_leave_out_what_is_not_installed() -> None:
    found = versions(["numpy", "surely-not-installed"])
    assert set(found) == {"python", "numpy"}
    assert installed("surely-not-installed") is None


def test_hardware_names_the_processor() -> None:
    assert hardware()["cores"] == cores()
    assert hardware()["processor"]
