"""sitecustomize: the door through which `clearsight profile -- COMMAND` enters the Python processes of the command.

Python imports a module of this name at its start, before the script. This folder stands first in their PYTHONPATH; a
sitecustomize of the user's own, further down, runs as it would have without us.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

_HERE = os.path.dirname(os.path.abspath(__file__))


def _begin() -> None:
    """Wait for torch, where a folder to write to was named."""
    folder = os.environ.get("CLEARSIGHT_PROFILE")
    if not folder or not os.path.isdir(folder):
        return
    try:
        from clearsight.profiler.external.child_process import begin
    except ImportError as error:
        left = Path(folder, "processes")
        left.mkdir(exist_ok=True)
        with (left / "problem.txt").open("a", encoding="utf-8") as file:
            file.write(f"clearsight is not installed for {sys.executable} ({error}): its steps were not followed\n")
        return
    rank = os.environ.get("RANK", "0")
    begin(Path(folder), full="CLEARSIGHT_PROFILE_FULL" in os.environ, rank=int(rank) if rank.isdigit() else 0)


def _users_own() -> None:
    """Run the sitecustomize that Python would have found without this folder."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    _begin()
    _users_own()
