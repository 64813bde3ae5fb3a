"""The import hook in an environment without clearsight, on modules with the names of the SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clearsight_sagemaker.clients.environment import HOOK

UTILS = """
import time
def sts_regional_endpoint(region): return "https://sts." + region + ".amazonaws.com"
def sagemaker_short_timestamp(): return "261120-2338"
"""
SESSION = """
import time
from sagemaker.utils import sts_regional_endpoint, sagemaker_short_timestamp
NOTEBOOK_METADATA_FILE = "/opt/ml/metadata/resource-metadata.json"
def wait():
    start = time.time()
    time.sleep(10)
    return time.time() - start
def _logs_for_job(session, job_name, wait=False, poll=10, log_type="All", timeout=None):
    return "time" if type(time).__name__ == "module" else "fast"
"""
TELEMETRY = "def _requests_helper(url, timeout): raise AssertionError('telemetry is sent to ' + url)\n"
ENDPOINT = "def sts_regional_endpoint(region): return 'https://sts.amazonaws.com'\n"
PROBE = """
import json, sys
import sagemaker.session, sagemaker.telemetry.telemetry_logging as telemetry
import sagemaker.core.helper.session_helper as third, sagemaker_core.helper.session_helper as second
telemetry._requests_helper("https://telemetry", 2)
session = sagemaker.session
print(json.dumps({
    "endpoints": [session.sts_regional_endpoint("us-east-1"), second.sts_regional_endpoint("x"),
                  third.sts_regional_endpoint("x")],
    "timestamp": session.sagemaker_short_timestamp(),
    "metadata": session.NOTEBOOK_METADATA_FILE,
    "site": getattr(sys, "theirs", "missing"),
    "fast": type(session.time).__name__,
}))
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return a folder with modules as the SDKs have them, and somebody's sitecustomize."""
    files = {
        "sagemaker/__init__.py": "",
        "sagemaker/utils.py": UTILS,
        "sagemaker/session.py": SESSION,
        "sagemaker/telemetry/__init__.py": "",
        "sagemaker/telemetry/telemetry_logging.py": TELEMETRY,
        "sagemaker/core/helper/session_helper.py": ENDPOINT,  # in a namespace package
        "sagemaker_core/helper/session_helper.py": ENDPOINT,
        "sitecustomize.py": "import sys; sys.theirs = 'run'\n",
    }
    for name, text in files.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "packages"


def probe(packages: Path, code: str = PROBE, **variables: str) -> dict[str, Any]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(HOOK), str(packages)]),
        "CLEARSIGHT_SAGEMAKER_URL": "http://127.0.0.1:9000",
        "CLEARSIGHT_SAGEMAKER_METADATA": "/home/me/metadata.json",
        **variables,
    }
    # No site-packages: the hook may not need anything.
    python = Path(sys.base_prefix) / "bin" / "python3"
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_sdk_is_changed_and_the_sitecustomize_of_the_environment_runs(packages: Path) -> None:
    found = probe(packages)
    assert found["endpoints"] == ["http://127.0.0.1:9000"] * 3
    assert len(found["timestamp"]) == 13
    assert found["metadata"] == "/home/me/metadata.json"
    assert found["site"] == "run"
    assert found["fast"] == "module"


def test_fast_polling_sleeps_half_a_second_and_counts_ten(packages: Path) -> None:
    code = (
        "import json, time; import sagemaker.session as session; start = time.time(); counted = session.wait();"
        "print(json.dumps({'seconds': time.time() - start, 'counted': counted,"
        "'logs': [session._logs_for_job(1, 'a'), session._logs_for_job(1, 'a', timeout=60),"
        "session._logs_for_job(1, 'a', True, 10, 'All', 60), session._logs_for_job(1, 'a')]}))"
    )
    found = probe(packages, code, CLEARSIGHT_FAST_POLLING="1")
    assert 0.4 < found["seconds"] < 5
    assert found["counted"] >= 10
    assert found["logs"] == ["fast", "time", "time", "fast"], "a wait with a timeout has the real clock"


def test_without_a_service_nothing_is_changed(packages: Path) -> None:
    code = "import json, sagemaker.utils; print(json.dumps({'endpoint': sagemaker.utils.sts_regional_endpoint('eu')}))"
    assert probe(packages, code, CLEARSIGHT_SAGEMAKER_URL="")["endpoint"] == "https://sts.eu.amazonaws.com"


def test_the_file_is_python_3_8() -> None:
    import ast

    ast.parse((HOOK / "sitecustomize.py").read_text(), feature_version=(3, 8))
