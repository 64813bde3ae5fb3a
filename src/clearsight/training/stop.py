"""StopSignal: asks a training loop to end early: Ctrl-C, SIGTERM, SIGHUP, the time limit, a finding of the debugger."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from clearsight.core.stop import END_SIGNALS, StopKind, StopReason, discard_lost_terminal, handling, signal_reason


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
        """Within the block SIGINT, SIGTERM and SIGHUP set the reason instead of ending the process."""

        def note(number: int, frame: FrameType | None) -> None:
            discard_lost_terminal(number)
            self._signal = signal_reason(number)
            signal.signal(number, before[number])  # a second Ctrl-C must end a hanging step

        with handling(END_SIGNALS, note) as before:
            yield
