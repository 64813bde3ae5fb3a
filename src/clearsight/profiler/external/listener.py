"""Watch: the stopwatch that a foreign loop is timed with; and how what fails is kept from that loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol

import numpy.typing as npt

P = ParamSpec("P")


class LoopTimer(Protocol):
    """What is told of phases and steps: a `StepClock`, a `TracedClock` or a `Recording`."""

    @property
    def phase(self) -> Callable[[str], AbstractContextManager[object]]: ...

    @property
    def step(self) -> Callable[[int, int, int], None]: ...

    @property
    def cut(self) -> Callable[[], None]: ...

    @property
    def note_images(self) -> Callable[[npt.NDArray[Any]], None]: ...


class LoopListener(Protocol):
    """Something that can give up, or be told to be silent."""

    failure: str
    silent: bool

    def fail(self, error: Exception) -> None: ...


def attempted(method: Callable[Concatenate[Any, P], bool]) -> Callable[Concatenate[Any, P], bool]:
    """The one place where what fails in a listener ends: it listens no more, and training never hears of it."""

    @wraps(method)
    def safe(self: LoopListener, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        if self.failure or self.silent:
            return False
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.fail(error)
            return False

    return safe
