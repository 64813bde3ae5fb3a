"""DecodePool: threads that read bodies and decode images, under a budget of memory and time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

from clearsight.serving.error_responses import busy

T = TypeVar("T")
Stopped: TypeAlias = Callable[[], bool]  # True once nobody waits for the result

_LARGE_PIXELS = 16_000_000  # of one request: about half a second of decoding
_WAITING = 8  # large requests that wait for their one thread; together they take seconds


class DecodePool:
    """Small requests share `threads`; large ones have a thread of their own, so that they never hold up small ones.

    It belongs to one event loop. Memory is at most half of the budget for small and half for large requests.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._small = ThreadPoolExecutor(threads, thread_name_prefix="clearsight-decode")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="clearsight-decode-large")
        self._waiting = 0

    def is_large(self, pixels: int, memory: int, budget: int) -> bool:
        """Return True for a request that gets the thread for large ones.

        pixels: of all its images.  memory: bytes that its largest image takes.  budget: bytes for all requests.
        """
        return pixels > _LARGE_PIXELS or memory > budget // (2 * self._threads)

    async def run(self, job: Callable[[Stopped], T], *, large: bool = False) -> T:
        """Return the result of `job`, run on a thread; raises its errors, and Busy when too many large jobs wait.

        A job whose caller is cancelled is dropped from the queue, or told by its argument to stop.
        """
        if large and self._waiting >= _WAITING:
            raise busy()
        stop = threading.Event()
        self._waiting += large
        try:
            pool = self._large if large else self._small
            return await asyncio.get_running_loop().run_in_executor(pool, job, stop.is_set)
        finally:
            stop.set()
            self._waiting -= large

    def close(self) -> None:
        """Stop the threads once they have finished their current work."""
        for pool in (self._small, self._large):
            pool.shutdown(wait=False, cancel_futures=True)
