"""Hooks on a model, its parameters and its optimizer: registered as one group, removed as one group."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


def do_nothing(*args: Any, **kwargs: Any) -> None:
    """Return None: the hook that a SafeHook becomes in a copy of the model."""


class SafeHook:
    """Hook that calls `listener` and drops its result, so that inputs and outputs of the module stay as they are.

    Training scripts copy and pickle models in the middle of training, to keep the best one. The listener holds files
    and threads that cannot be copied, so a copied or pickled SafeHook is `do_nothing`.
    """

    def __init__(self, listener: Callable[..., None]) -> None:
        self._listener = listener

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self._listener(*args, **kwargs)

    # Of copying too. Not an error, because the user's copy of the model must work; not the listener, because it cannot
    # be copied.
    def __reduce__(self) -> str | tuple[Any, ...]:
        return (_copied_hook, ())


def _copied_hook() -> Callable[..., None]:
    return do_nothing


class HookGroup:
    """Hooks that are removed together."""

    def __init__(self) -> None:
        self._handles = ExitStack()

    def attach(self, register: Callable[..., Any], listener: Callable[..., None], **options: Any) -> None:
        """Register a hook. register: a method such as `module.register_forward_hook`, with its options."""
        self._handles.callback(register(SafeHook(listener), **options).remove)

    def remove(self) -> None:
        """Remove all of them; may be called at any time, and twice."""
        self._handles.close()
