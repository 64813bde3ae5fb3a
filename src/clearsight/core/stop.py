"""StopReason: why a run, a trial or a study ended before it was through; `kind` is for programs, `text` for people."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import FrameType
from typing import Any


class StopKind(StrEnum):
    """Kind of an end. Code decides by it, never by the wording of the text."""

    SIGNAL = "signal"  # Ctrl-C, SIGTERM, or a study that was told to stop
    KILLED = "killed"  # the process ended before it could say why
    TIME_LIMIT = "time_limit"  # of the run or of the study
    PATIENCE = "patience"  # the monitored score no longer improved
    FINDING = "finding"  # an action asked for by a rule of the debugger
    DIVERGED = "diverged"  # the loss became NaN or infinite
    PRUNED = "pruned"  # the study's pruner gave the trial up
    AT_CHANCE = "at_chance"  # a third into its training the trial had learned nothing
    EPOCH_BUDGET = "epoch_budget"  # the trials of the study used all epochs that it may train
    TARGET = "target"  # the objective reached its target
    NO_IMPROVEMENT = "no_improvement"  # too many trials in a row without a better one
    STUDY_ENDED = "study_ended"  # the study ended while the trial was under way
    FAILURE = "failure"  # an error ended it
    MISTAKE = "mistake"  # an error ended it that the user can correct
    ALL_FAILED = "all_failed"  # every trial failed
    UNKNOWN = "unknown"  # a kind that a later version wrote


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why it ended. text: one sentence without a full stop."""

    kind: StopKind
    text: str


def stop_kind(value: object) -> StopKind | None:
    """Return the kind that a JSON file names: None for none, UNKNOWN for a word of a later version."""
    if not value:
        return None
    if not isinstance(value, str):
        return StopKind.UNKNOWN
    return StopKind(value) if value in {kind.value for kind in StopKind} else StopKind.UNKNOWN


# Signals that ask a process to end. Windows has no SIGHUP, which says that the terminal has gone.
END_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Signalled(BaseException):
    """SIGTERM or SIGHUP outside of a training loop: it ends the work in the same order as KeyboardInterrupt.

    No subclass of that: the exit code is another one.  number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal_reason(number).text)

    @classmethod
    def raise_from(cls, number: int, frame: FrameType | None) -> None:
        """Raise the error; a handler of signals."""
        discard_lost_terminal(number)
        raise cls(number)


def signal_reason(number: int) -> StopReason:
    """Return the reason of an end by a signal."""
    return StopReason(StopKind.SIGNAL, f"stopped by {signal.Signals(number).name}")


@contextlib.contextmanager
def handling(numbers: Sequence[int], handler: Callable[[int, FrameType | None], object]) -> Iterator[dict[int, Any]]:
    """Handle signals within the block; yield the handlers from before it.

    SIGTERM and SIGHUP stay ignored where they are: nohup means it. SIGINT does not, since shells ignore it for every
    command in the background of a script. Python delivers signals to the main thread alone: elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield {}
        return
    handlers = {number: signal.getsignal(number) for number in numbers}
    left = (signal.SIG_IGN, None)  # None: a handler in C, which could not be restored
    before = {n: known for n, known in handlers.items() if n == signal.SIGINT or known not in left}
    for number in before:
        signal.signal(number, handler)
    try:
        yield before
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def discard_lost_terminal(number: int) -> None:
    """Send what would go to a terminal to nowhere after SIGHUP: the terminal has gone, and writing to it fails."""
    if number != getattr(signal, "SIGHUP", None):
        return
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # None, closed, or no file at all
            handle = stream.fileno()  # type: ignore[union-attr]
            if stat.S_ISCHR(os.fstat(handle).st_mode):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, handle)
                os.close(nowhere)
