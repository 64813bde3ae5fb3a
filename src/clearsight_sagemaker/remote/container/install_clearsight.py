"""Installs the clearsight that was submitted into the container: python install_clearsight.py.

It does nothing where this Python has that version. Several processes of a container may call it at the same time.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Install the wheel beside this file; return the exit code of pip."""
    [wheel] = Path(__file__).parent.glob("clearsight-*.whl")
    with (Path(tempfile.gettempdir()) / "clearsight-install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _installed() == wheel.name.split("-")[1]:
            return 0
        print(f"installing {wheel.name} and the packages that it needs", flush=True)
        words = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
        return subprocess.run([*words, str(wheel)], check=False).returncode


def _installed() -> str:
    try:
        return importlib.metadata.version("clearsight")
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
