"""When to stop early for a reason from outside: Ctrl-C, SIGTERM, the time limit, a finding of the debugger."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TIME_LIMIT = "the time limit"
FINDING = "the debugger found"


def _nobody() -> str:
    return ""


class StopSignal:
    """Asked between steps whether to stop; `reason` says why. The second signal is no longer caught.

    also: somebody else who is asked too; gives a reason or "".
    """

    def __init__(self, time_limit: float | None = None, also: Callable[[], str] = _nobody) -> None:
        self._also = also
        self._deadline = None if time_limit is None else time.monotonic() + time_limit
        self._limit = time_limit
        self._signal = self._asked = ""

    def ask(self, reason: str) -> None:
        """Stop after this step, for a reason that is told; the first one counts."""
        self._asked = self._asked or reason

    def go_on(self) -> None:
        """Forget what was asked: what it was about has been changed."""
        self._asked = ""

    @property
    def reason(self) -> str:
        """Why to stop now, or ""."""
        if self._signal or self._asked:
            return self._signal or self._asked
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return f"{TIME_LIMIT} of {self._limit:g} s was reached"
        return self._also()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block SIGINT and SIGTERM set the reason instead of ending the process."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread alone
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = f"stopped by {signal.Signals(number).name}"
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
