"""Cores are of this process, versions of installed packages, the processor has a name, and OpenVINO sends nothing."""

import json
import os
import subprocess
import sys

import pytest

from clearsight.core.machine import (
    cores,
    hardware,
    installed,
    machine_name,
    process_ended,
    process_identity,
    versions,
)


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
    assert machine_name().startswith(f"{hardware()['processor']}, {cores()} core")


# In a process of its own: openvino is imported once. Its telemetry sends from a thread, which would still be there.
IMPORT_OPENVINO = """
import sys, threading
from clearsight.core.machine import import_openvino
openvino = import_openvino()
from openvino.tools.ovc import telemetry_utils
print(openvino.__name__, telemetry_utils.tm.__name__, "openvino_telemetry" in sys.modules, threading.active_count())
assert import_openvino() is openvino
import openvino_telemetry
"""


def test_importing_openvino_sends_nothing() -> None:
    pytest.importorskip("openvino")
    outside_ci = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS")}
    process = subprocess.run(
        [sys.executable, "-c", IMPORT_OPENVINO], env=outside_ci, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["openvino", "openvino.tools.ovc.telemetry_stub", "False", "1"]


def test_a_process_is_known_by_its_host_its_pid_and_its_start() -> None:
    here = process_identity()
    assert not process_ended(here)
    assert not process_ended({**here, "host": "another"}), "nobody here can know"
    assert not process_ended({}), "a run of an earlier version"
    if sys.platform == "linux":
        assert process_ended({**here, "start": "0"}), "a later process has the PID now"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no way to ask")
def test_a_process_that_was_killed_has_ended() -> None:
    code = "import json; from clearsight.core.machine import process_identity; print(json.dumps(process_identity()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process_ended(json.loads(done.stdout))
