"""Arrivals: something is done as soon as a module is imported, and nothing is imported for it.

This is loaded at the start of every Python process under `clearsight profile`, so it needs nothing but the
standard library's import machinery.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Action = Callable[[ModuleType], None]


class ImportHook:
    """Waits for modules. One finder at the front of sys.meta_path, there only while something is awaited."""

    def __init__(self) -> None:
        self._awaited: dict[str, list[Action]] = {}
        self._searching: set[str] = set()

    def when_imported(self, name: str, action: Action) -> None:
        """Call `action(module)` once: now where the module is there already, else right after it was imported.

        An error of the action goes to whoever imported the module, so it should not raise.
        """
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        if module is not None and not getattr(spec, "_initializing", False):
            action(module)
            return
        self._awaited.setdefault(name, []).append(action)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def forget(self) -> None:
        """Wait for nothing any more."""
        self._awaited.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Part of the import machinery: the module as others find it, with the actions behind its loading."""
        if name not in self._awaited or name in self._searching:
            return None
        self._searching.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching.discard(name)
        load = getattr(spec and spec.loader, "exec_module", None)
        if spec is None or load is None:
            return None

        def load_and_act(module: ModuleType) -> None:
            del spec.loader.exec_module  # type: ignore[union-attr]  # the class's own is back
            load(module)
            for action in self._awaited.pop(name, ()):
                action(module)
            if not self._awaited:
                self.forget()

        try:
            spec.loader.exec_module = load_and_act  # type: ignore[union-attr,method-assign]
        except AttributeError:  # a loader that takes no attributes, such as that of built-in modules
            return None
        return spec
