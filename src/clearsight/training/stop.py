"""StopSignal: asks a training loop to end early: Ctrl-C, SIGTERM, the time limit, a finding of the debugger."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from clearsight.core.stop import StopKind, StopReason


class StopSignal:
    """Asked between steps whether to stop; `reason` says why. The second signal ends the process as usual.

    time_limit: seconds from now, None for no limit.  also: a further source, asked when nothing else stops the run.
    """

    def __init__(self, time_limit: float | None = None, also: Callable[[], StopReason | None] = lambda: None) -> None:
        self._also = also
        self._deadline = None if time_limit is None else time.monotonic() + time_limit
        self._limit = time_limit
        self._signal: StopReason | None = None
        self._requested: StopReason | None = None

    def ask(self, reason: StopReason) -> None:
        """Stop after this step; of several reasons the first one counts."""
        self._requested = self._requested or reason

    def resume(self) -> None:
        """Forget what was asked: its cause has been changed."""
        self._requested = None

    @property
    def reason(self) -> StopReason | None:
        """Return why to stop now, or None."""
        if self._signal or self._requested:
            return self._signal or self._requested
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return StopReason(StopKind.TIME_LIMIT, f"the time limit of {self._limit:g} s was reached")
        return self._also()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block SIGINT and SIGTERM set the reason instead of ending the process."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread alone
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = StopReason(StopKind.SIGNAL, f"stopped by {signal.Signals(number).name}")
            signal.signal(number, before[signal.Signals(number)])  # a second Ctrl-C must end a hanging step

        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
