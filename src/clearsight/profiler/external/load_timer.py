"""Reader: what one process spends on the images that it makes, part by part.

A part that a known function does (PIL's decoding, torchvision's transforms) is timed at that function. What is left of
the making of an image is code of the user's own: it counts to the parts that the names of its functions speak of, as
`HotLines` saw them, and to decoding where they speak of none.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from clearsight.core.profile import LOAD_PARTS
from clearsight.profiler.external.hot_lines import HotLines
from clearsight.profiler.external.shared_counters import SharedCounters

log = logging.getLogger(__name__)

REST = ""  # the making of an image outside of every known function
_UNKNOWN = "decode"


class LoadTimer:
    """Times the thread that makes batches, one batch at a time; others pass unseen.

    Nothing raises: a failure ends the timing, is logged once and said in `failure`.
    """

    def __init__(self, ledger: SharedCounters, hot_lines: HotLines) -> None:
        self.ledger, self.hot_lines = ledger, hot_lines
        self.failure = ""
        self.thread = 0  # that makes a batch at the moment
        self._pid = os.getpid()
        self._open: list[str] = []
        self._spent: dict[str, float] = {}
        self._mark = 0.0

    def sums(self) -> Mapping[str, float]:
        """What all readers spent so far: seconds by part, and how many "images" and "bytes"."""
        return self.ledger.sums()

    def begin(self) -> bool:
        """The calling thread begins a batch; False where it is not to be timed, and `end` not to be called."""
        if (self.thread and self._pid == os.getpid()) or self.failure:
            return False
        if self._pid != os.getpid():  # forked in the middle of something that the parent does
            self._pid = os.getpid()
            self.ledger.close()
        self._open, self._spent, self._mark = [REST], {}, time.perf_counter()
        self.thread = threading.get_ident()
        self.hot_lines.watch(self.thread, self._open)
        return True

    def end(self, images: int) -> None:
        """The batch is made."""
        try:
            self._spend()
            self.thread = 0
            self.hot_lines.rest()
            left = self._spent.pop(REST, 0.0)
            for part, share in (self.hot_lines.shares() or {_UNKNOWN: 1.0}).items():
                part = part or _UNKNOWN
                self._spent[part] = self._spent.get(part, 0.0) + left * share
            self._spent["images"] = images
            self.ledger.add(self._spent)
        except Exception as error:  # the one place: a measurement is not worth a training
            self.thread = 0
            self.failure = f"readers: {type(error).__name__}: {error}"
            log.warning("the profiler stopped measuring %s", self.failure)

    def enter(self, part: str) -> None:
        """The thread begins a part, of PARTS; what it does inside of it may be another one."""
        self._spend()
        self._open.append(part)

    def leave(self) -> None:
        """The thread ends the part that it began last."""
        self._spend()
        if len(self._open) > 1:
            self._open.pop()

    def busy_here(self) -> bool:
        """Whether the calling thread makes a batch."""
        return self.thread == threading.get_ident()

    def count_bytes(self, amount: float) -> None:
        """So many bytes were read."""
        self._spent["bytes"] = self._spent.get("bytes", 0.0) + amount

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, timed as a part wherever it is called while a batch is made."""
        assert part in LOAD_PARTS

        @functools.wraps(work)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self.thread != threading.get_ident():
                return work(*args, **kwargs)
            self.enter(part)
            try:
                return work(*args, **kwargs)
            finally:
                self.leave()

        return timed

    def close(self) -> None:
        """Let go of files and threads."""
        self.thread = 0
        self.hot_lines.close()
        self.ledger.close()

    def _spend(self) -> None:
        now = time.perf_counter()
        part = self._open[-1]
        self._spent[part] = self._spent.get(part, 0.0) + now - self._mark
        self._mark = now
