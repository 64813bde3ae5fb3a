"""Loaded by every Python of a job before its program: hooks for imports, and the next sitecustomize."""

import importlib.machinery
import importlib.util
import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def _load_next() -> None:
    """Run the sitecustomize that this one hides."""
    paths = [path for path in sys.path if os.path.abspath(path or ".") != _FOLDER]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", paths)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


# Last: packages of the job that have these names are found before them.
sys.path.append(os.path.join(_FOLDER, "when_missing"))

from clearsight_job import torch_hooks  # noqa: E402

torch_hooks.install(os.environ)
if os.environ.get("CLEARSIGHT_RECORD_TENSORS") == "1":  # a script that does not use smdebug is recorded as well
    from smdebug.pytorch import zero_code_change

    zero_code_change.install()
_load_next()
