"""Patches: attributes of other people's classes and modules, replaced for a while and put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ABSENT = object()


class Patches:
    """What was replaced, so that `undo` leaves every owner with the very objects that it had before."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, object, object]] = []
        self._undoing: list[Callable[[], object]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put `make(original)` in the place of an attribute of a class or module. Raises AttributeError without it."""
        before = vars(owner).get(name, _ABSENT)
        now = make(getattr(owner, name))
        setattr(owner, name, now)
        self._replaced.append((owner, name, before, now))

    def when_undone(self, action: Callable[[], object]) -> None:
        """Have something else undone too, such as the removal of a hook."""
        self._undoing.append(action)

    def undo(self) -> None:
        """Put everything back, the last first. What somebody else has replaced since then is theirs and stays."""
        while self._undoing:
            self._undoing.pop()()
        while self._replaced:
            owner, name, before, now = self._replaced.pop()
            if vars(owner).get(name) is not now:
                continue
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
