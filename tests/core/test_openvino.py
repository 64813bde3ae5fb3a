"""OpenVINO is imported without its telemetry: clearsight sends nothing over the network."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("openvino")

# In a process of its own: openvino is imported once. Its telemetry sends from a thread, which would still be there.
_IMPORT = """
import sys, threading
from clearsight.core.openvino import import_openvino
openvino = import_openvino()
from openvino.tools.ovc import telemetry_utils
print(openvino.__name__, telemetry_utils.tm.__name__, "openvino_telemetry" in sys.modules, threading.active_count())
assert import_openvino() is openvino
import openvino_telemetry
"""


def test_nothing_is_sent_by_the_import() -> None:
    outside_ci = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS")}
    process = subprocess.run(
        [sys.executable, "-c", _IMPORT], env=outside_ci, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["openvino", "openvino.tools.ovc.telemetry_stub", "False", "1"]
