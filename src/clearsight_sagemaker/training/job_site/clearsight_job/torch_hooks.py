"""Import hook for torch: nothing is loaded and nothing is changed before a program imports it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType


class _AfterImport(importlib.abc.MetaPathFinder):
    """Finder that calls a function with a module when the module has been imported."""

    def __init__(self, name: str, function: Callable[[ModuleType], None]) -> None:
        self._name, self._function = name, function

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)  # the other finders find the module itself
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            self._function(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def install(environment: Mapping[str, str]) -> None:
    """Change torch once it is imported, as variables of the job ask for."""

    def change(torch: ModuleType) -> None:
        from clearsight_job import cuda_on_cpu, hub_weights

        hub_weights.install(torch, environment.get("CLEARSIGHT_JOB_WEIGHTS", ""))
        instance = environment.get("CLEARSIGHT_JOB_INSTANCE", "")
        if instance:
            cuda_on_cpu.install(torch, instance)

    sys.meta_path.insert(0, _AfterImport("torch", change))
