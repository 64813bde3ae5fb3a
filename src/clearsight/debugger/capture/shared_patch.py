"""SharedPatch: a function of a library that reports its calls while somebody listens, and is the original otherwise."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

# args, kwargs, and what the call returned, or the error that it raised.
CallListener = Callable[[tuple[Any, ...], Mapping[str, Any], Any], None]

_REJECTED = (IndexError, RuntimeError, TypeError, ValueError)  # errors by which torch refuses wrong arguments


class SharedPatch:
    """Replaces `owner.name` while it has listeners. Results and errors of the calls stay as they are.

    Several listeners may come and go in any order; the last that leaves puts the original back, unless somebody else
    has replaced the function since: then the replacement stays and reports nothing.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name
        self._listeners: list[CallListener] = []
        self._original: Any = None
        self._replacement: Any = None

    def register(self, listener: CallListener) -> PatchHandle:
        """Report every call to `listener` until the handle is removed."""
        if not self._listeners and getattr(self._owner, self._name) is not self._replacement:
            self._original = getattr(self._owner, self._name)
            self._replacement = self._make_replacement(self._original)
            setattr(self._owner, self._name, self._replacement)
        self._listeners.append(listener)
        return PatchHandle(self, listener)

    def unregister(self, listener: CallListener) -> None:
        """Report no more calls to `listener`; called twice it does nothing."""
        # By identity: listeners need not be comparable.
        self._listeners = [other for other in self._listeners if other is not listener]
        if not self._listeners and getattr(self._owner, self._name) is self._replacement:
            setattr(self._owner, self._name, self._original)
            self._replacement = None

    def _make_replacement(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                return original(*args, **kwargs)
            try:
                result = original(*args, **kwargs)
            except _REJECTED as error:
                self._report(args, kwargs, error)
                raise
            self._report(args, kwargs, result)
            return result

        return call

    def _report(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        for listener in self._listeners:
            listener(args, kwargs, result)


class PatchHandle:
    """Ends the reports to one listener."""

    def __init__(self, patch: SharedPatch, listener: CallListener) -> None:
        self._patch, self._listener = patch, listener

    def remove(self) -> None:
        """End the reports; may be called twice."""
        self._patch.unregister(self._listener)
