"""Guard: an error of something that only observes ends the observing, never the work that is observed.

Debugger, profiler and progress displays run inside of somebody's training. Each of their parts has one guard:

    class Tracer:
        def __init__(self) -> None:
            self.guard = Guard("tracing", on_failure=lambda error: self.stop())

        @guarded
        def step(self, number: int) -> None: ...          # returns None at once after the first error

        @guarded(default=False)
        def due(self, number: int) -> bool: ...            # returns False after the first error

        def close(self) -> None:
            self.guard.finish(self.file.close)             # a clean-up runs after an error too
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from clearsight.core.errors import out_of_memory

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class Guard:
    """Runs the actions of one observing part and turns the part off at its first error.

    part: its name, subject of the report: "<part> failed and is off: <type of the error>: <its text>".
    report: receives that sentence, once; by default it is logged as a warning, with the traceback.
    on_failure: called once after the report with the error, to undo what the part has set up. An error in `report` or
    `on_failure` itself, or in a later clean-up, is logged.
    KeyboardInterrupt, SystemExit and whatever else is no Exception are never caught.
    """

    def __init__(
        self,
        part: str,
        *,
        report: Callable[[str], None] | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self.part = part
        self._report, self._on_failure = report, on_failure
        self._errors: list[Exception] = []  # appending to a list is atomic: of two threads that fail, one reports

    @property
    def failure(self) -> Exception | None:
        """The first error; None while the part works."""
        return self._errors[0] if self._errors else None

    @property
    def off(self) -> bool:
        return bool(self._errors)

    @property
    def reason(self) -> str:
        """Type and text of the first error, "ValueError: no such file"; "" while the part works."""
        return error_text(self._errors[0]) if self._errors else ""

    def run(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return the result of `action`; None if it fails, and without calling it once the part is off."""
        return self.run_or(None, action, *args, **kwargs)

    def run_or(self, default: T, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `action`; `default` if it fails, and without calling it once the part is off."""
        if self._errors:
            return default
        result: T = self._attempt(default, action, *args, **kwargs)
        return result

    def finish(self, action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a clean-up, after a failure too: files and hooks must be let go of in any case."""
        self._attempt(None, action, *args, **kwargs)

    def fail(self, error: Exception) -> None:
        """Turn the part off because of an error that was caught elsewhere. Errors after the first are only logged."""
        self._errors.append(error)
        if self._errors[0] is not error:
            log.warning("%s failed again: %s", self.part, error_text(error), exc_info=error)
            return
        # Each on its own: where the report fails (a closed terminal, say), hooks must be removed nevertheless.
        self._attempt(None, self._announce, error)
        if self._on_failure is not None:
            self._attempt(None, self._on_failure, error)

    def _announce(self, error: Exception) -> None:
        sentence = f"{self.part} failed and is off: {error_text(error)}"
        if self._report is not None:
            self._report(sentence)
        else:
            # Where memory was short the place in the code explains nothing.
            log.warning("%s", sentence, exc_info=None if out_of_memory(error) else error)

    def _attempt(self, default: Any, action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return action(*args, **kwargs)
        except Exception as error:  # whatever it is, observing is not worth a training
            self.fail(error)
            return default

    def reset(self) -> None:
        """Turn the part on again, where it begins with something new."""
        self._errors.clear()


class Guarded(Protocol):
    """Object whose methods may be decorated with `guarded`."""

    @property
    def guard(self) -> Guard: ...


@overload
def guarded(method: Callable[Concatenate[Any, P], None], /) -> Callable[Concatenate[Any, P], None]: ...


@overload
def guarded(*, default: T) -> Callable[[Callable[Concatenate[Any, P], T]], Callable[Concatenate[Any, P], T]]: ...


def guarded(method: Callable[Concatenate[Any, P], Any] | None = None, /, *, default: Any = None) -> Any:
    """Decorate a method of an object with a `guard`: it runs as by `guard.run_or(default, method)`."""

    def decorate(method: Callable[Concatenate[Any, P], Any]) -> Callable[Concatenate[Any, P], Any]:
        @wraps(method)
        def safe(self: Guarded, /, *args: P.args, **kwargs: P.kwargs) -> Any:
            # Written out instead of calling `run_or`: hooks run in every forward pass and phase, and the two calls more
            # take half a microsecond.
            guard = self.guard
            if guard.off:
                return default
            try:
                return method(self, *args, **kwargs)
            except Exception as error:
                guard.fail(error)
                return default

        return safe

    return decorate if method is None else decorate(method)


def error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def failures(guards: Iterable[Guard]) -> str:
    """Return the parts that are off with their reasons, "tracing: ValueError: no such file; ..."; "" for none."""
    return "; ".join(f"{guard.part}: {guard.reason}" for guard in guards if guard.off)
