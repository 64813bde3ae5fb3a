"""sitecustomize: starts the profiler in the Python processes of `clearsight profile -- COMMAND`.

Python imports a module of this name at its start, before the script. This folder is the first in their PYTHONPATH. A
sitecustomize of the user's, further down in it, runs as it would have without the profiler.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def _begin() -> None:
    """Wait for the import of torch, if the environment names a folder for the profile."""
    folder = os.environ.get("CLEARSIGHT_PROFILE")
    if not folder or not os.path.isdir(folder):
        return
    try:
        # Not through workflow, unlike the rest of cli: the process is the user's, and must not import all of that.
        from clearsight.profiler.external.child_process import begin
    except ImportError as error:
        # The names of profiler.external.layout, which cannot be imported either.
        processes = Path(folder, "processes")
        processes.mkdir(exist_ok=True)
        with (processes / "problem.txt").open("a", encoding="utf-8") as file:
            file.write(f"clearsight is not installed for {sys.executable} ({error}): its steps were not timed\n")
        return
    rank = os.environ.get("RANK", "0")
    begin(Path(folder), full="CLEARSIGHT_PROFILE_FULL" in os.environ, rank=int(rank) if rank.isdigit() else 0)


def _run_next() -> None:
    """Run the sitecustomize that Python would have found without this folder."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _FOLDER]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    _begin()
    _run_next()
