"""Ear: a callback that listens to a model or an optimizer, and that copies of the model do not take along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def do_nothing(*args: Any, **kwargs: Any) -> None:
    """Hears nothing: what an Ear becomes in a copy."""


class SafeHook:
    """Calls `listen`, whose answer is dropped: a listener changes neither inputs nor outputs.

    Training scripts copy and pickle models in the middle of training, to keep the best one. The listener holds files
    and threads and must not go along, so a copied or pickled Ear is `deaf`.
    """

    def __init__(self, listen: Callable[..., None]) -> None:
        self._listen = listen

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self._listen(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return do_nothing

    def __reduce__(self) -> str | tuple[Any, ...]:
        return (_deaf, ())


def _deaf() -> Callable[..., None]:
    return do_nothing
