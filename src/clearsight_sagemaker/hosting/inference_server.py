"""InferenceServer: whatever responds to requests for a model, in this process or behind an API."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol, TypeVar

Result = TypeVar("Result")
_POLL_SECONDS = 0.2  # between two questions whether the job goes on


class InferenceResponse(Protocol):
    """Response of a model server."""

    @property
    def status(self) -> int:
        """Status of HTTP."""
        ...

    @property
    def body(self) -> bytes:
        """Scores, in the format of the content type."""
        ...

    @property
    def content_type(self) -> str:
        """Format of the body."""
        ...


class InferenceServer(Protocol):
    """Server of a model."""

    def invoke(self, body: bytes, content_type: str, accept: str, timeout: float, /) -> InferenceResponse:
        """Return the response to a request. timeout: seconds. Raises JobFailed where there is none."""
        ...


class InterruptibleServer:
    """Server whose requests can be given up. check: called while a request is under way; raises to give up.

    A request that was given up ends with its server, or by its own timeout.
    """

    def __init__(self, server: InferenceServer, check: Callable[[], None]) -> None:
        self._server, self._check = server, check
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="inference")

    def invoke(self, body: bytes, content_type: str, accept: str, timeout: float, /) -> InferenceResponse:
        """Return the response to a request. timeout: seconds. Raises JobFailed, and what `check` raises."""
        self._check()
        return wait_for(self._pool.submit(self._server.invoke, body, content_type, accept, timeout), self._check)

    def close(self) -> None:
        """Wait for no request that is still under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def wait_for(future: Future[Result], check: Callable[[], None]) -> Result:
    """Return a result once it is there. Raises its exception, and what `check` raises before."""
    while True:
        with suppress(TimeoutError):
            return future.result(_POLL_SECONDS)
        check()
