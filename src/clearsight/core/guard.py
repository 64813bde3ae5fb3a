"""Guard: an error of the debugger ends the debugging, never the training."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol

P = ParamSpec("P")


class Guarded(Protocol):
    """Something that can give up."""

    failure: Exception | None

    def _fail(self, error: Exception) -> None: ...


def guarded(method: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """A method that hands its errors to `_fail`, and does nothing once something has failed."""

    @wraps(method)
    def safe(self: Guarded, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        if self.failure is not None:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._fail(error)

    return safe
