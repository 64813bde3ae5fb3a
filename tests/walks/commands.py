"""Running the command line as a person would: in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLEARSIGHT = [sys.executable, "-W", "error::ResourceWarning", "-m", "clearsight"]


def run(*words: object, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`clearsight WORDS`, which must end with exit code `code`."""
    done = subprocess.run([*CLEARSIGHT, *map(str, words)], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def answer(*words: object, cwd: Path | None = None) -> Any:
    """The JSON that `clearsight WORDS --json` prints, alone on stdout."""
    return json.loads(run(*words, "--json", cwd=cwd).stdout)


def complaint(*words: object, cwd: Path | None = None) -> str:
    """The one sentence with which a user's mistake ends; exit code 2 and no traceback."""
    done = run(*words, cwd=cwd, code=2)
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("error: ")
