"""Honest requests are answered beside hostile ones: a short form of benchmarks/soak.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
def test_honest_requests_are_answered_beside_hostile_ones() -> None:
    command = [sys.executable, str(SOAK), "--seconds", "8", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
    result = json.loads(done.stdout)
    load = result["beside_hostile_clients"]
    assert load["requests"] > 5
    assert load["failed"] == 0
    assert load["p50_ms"] < 3000  # two shared cores decode bombs meanwhile
    assert result["memory_mib"]["largest"] < 1500
    assert result["log_bytes"] < 1 << 20
    assert result["exit_code"] == 0
