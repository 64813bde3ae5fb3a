"""Run `clearsight` in a process of its own, as a user does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLEARSIGHT = [sys.executable, "-W", "error::ResourceWarning", "-m", "clearsight"]


def run(*words: object, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `clearsight WORDS`, which must end with exit code `code`."""
    done = subprocess.run([*CLEARSIGHT, *map(str, words)], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def json_of(*words: object, cwd: Path | None = None) -> Any:
    """Return the JSON that `clearsight WORDS --json` prints to stdout."""
    return json.loads(run(*words, "--json", cwd=cwd).stdout)


def error_of(*words: object, cwd: Path | None = None) -> str:
    """Return the error of a command that must fail with exit code 2, one line and no traceback."""
    done = run(*words, cwd=cwd, code=2)
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("error: ")
