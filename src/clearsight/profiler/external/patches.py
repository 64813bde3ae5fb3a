"""Patches: attributes of classes and modules of other libraries, replaced for a while and put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ABSENT = object()


class Patches:
    """Replaces attributes. `undo` leaves every owner with the very objects that it had before."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, object, object]] = []
        self._undoing: list[Callable[[], object]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace an attribute of a class or module by `make(original)`. Raises AttributeError where there is none."""
        # The owner's own attribute: an inherited one must not become the owner's when it is put back.
        original = vars(owner).get(name, _ABSENT)
        replacement = make(getattr(owner, name))
        setattr(owner, name, replacement)
        self._replaced.append((owner, name, original, replacement))

    def when_undone(self, action: Callable[[], object]) -> None:
        """Add an action to `undo`, such as the removal of a hook."""
        self._undoing.append(action)

    def undo(self) -> None:
        """Put everything back, the last replacement first. An attribute that others have replaced since then stays."""
        while self._undoing:
            self._undoing.pop()()
        while self._replaced:
            owner, name, original, replacement = self._replaced.pop()
            if vars(owner).get(name) is not replacement:
                continue
            if original is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
