"""ImportHook: runs actions as soon as a module is imported, without importing it.

Loaded at the start of every Python process under `clearsight profile`, so it needs only the import machinery of the
standard library.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Action = Callable[[ModuleType], None]


class ImportHook:
    """Waits for modules, as a finder at the front of sys.meta_path. It is there only while it waits."""

    def __init__(self) -> None:
        self._awaited: dict[str, list[Action]] = {}
        self._searching: set[str] = set()

    def when_imported(self, name: str, action: Action) -> None:
        """Call `action(module)` once: at once if the module is imported already, else right after its import.

        An error of the action would be raised by the import, so it should not raise.
        """
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        if module is not None and not getattr(spec, "_initializing", False):
            action(module)
            return
        self._awaited.setdefault(name, []).append(action)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def cancel(self) -> None:
        """Stop waiting."""
        self._awaited.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Return the spec from other finders, made to run the actions after loading. Called by the import system."""
        if name not in self._awaited or name in self._searching:
            return None  # in `_searching`: importlib.util.find_spec below asks this finder too
        self._searching.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching.discard(name)
        load = getattr(spec and spec.loader, "exec_module", None)
        if spec is None or load is None:
            return None

        def load_and_act(module: ModuleType) -> None:
            del spec.loader.exec_module  # type: ignore[union-attr]  # the method of the class is back
            load(module)
            for action in self._awaited.pop(name, ()):
                action(module)
            if not self._awaited:
                self.cancel()

        try:
            spec.loader.exec_module = load_and_act  # type: ignore[union-attr,method-assign]
        except AttributeError:  # a loader without a __dict__, such as that of built-in modules
            return None
        return spec
