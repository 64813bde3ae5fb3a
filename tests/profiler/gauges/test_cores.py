"""Cores: those that a process may use, not those that the machine has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from clearsight.profiler.gauges.cores import allowed_cores


def test_of_this_process() -> None:
    assert set(allowed_cores()) == os.sched_getaffinity(0)


def test_of_a_process_that_was_given_one() -> None:
    one = max(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert allowed_cores(child.pid) == (one,)
        child.communicate(b"\n")


def test_of_a_process_that_is_not_there() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    with pytest.raises(ProcessLookupError):
        allowed_cores(child.pid)
