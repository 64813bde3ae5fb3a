"""Recording of scripts that never mention smdebug.

SageMaker's images up to PyTorch 1.11 made the job's hook when torch was imported. `install`, called at the start of the
interpreter (in a sitecustomize), does the same; it imports neither torch nor numpy itself.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any, Sequence

_TRIGGER = "torch"


class HookAfterTorch(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports torch as others do, and makes the job's hook when that is done."""

    def __init__(self) -> None:
        self._loader: Any = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _TRIGGER:
            return None
        sys.meta_path.remove(self)  # once: the search below must not end here again
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        from smdebug.pytorch import get_hook

        get_hook(create_if_not_exists=True)


def install() -> None:
    """Make the job's hook when torch is imported; outside of a training job nothing happens."""
    if "TRAINING_JOB_NAME" in os.environ and _TRIGGER not in sys.modules:
        sys.meta_path.insert(0, HookAfterTorch())
