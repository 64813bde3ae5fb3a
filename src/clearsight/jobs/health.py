"""HealthMonitor: asks the address of a job whether it works."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from urllib.parse import urlsplit

from clearsight.core.errors import BadValue
from clearsight.jobs.job import HealthCheck

_TIMEOUT = 5.0  # seconds for an answer
_FIRST_EVERY = 0.1  # seconds between checks until the first 200


class HealthMonitor:
    """Checks of one process; for one event loop."""

    def __init__(self, check: HealthCheck) -> None:
        self._check = check

    async def first(self) -> str:
        """Return "" at the first 200, or why none came in time."""
        loop = asyncio.get_running_loop()
        end, problem = loop.time() + self._check.start_seconds, ""
        while loop.time() < end:
            problem = await healthy(self._check.url)
            if not problem:
                return ""
            await asyncio.sleep(_FIRST_EVERY)
        return f"it was not healthy within {self._check.start_seconds:g} s: {problem}"

    async def failure(self) -> str:
        """Return why the process is unhealthy, once several checks in a row have failed."""
        problems: list[str] = []
        while len(problems) < self._check.failures:
            await asyncio.sleep(self._check.every)
            problem = await healthy(self._check.url)
            problems = [*problems, problem] if problem else []
        return f"it failed {len(problems)} health checks in a row: {problems[-1]}"


async def healthy(url: str) -> str:
    """Return "" if GET on an http:// or https:// address answers 200, else a sentence."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise BadValue(f"health check {url}", "it must be an http:// or https:// address")
    context = None
    if parts.scheme == "https":  # of the job itself, whose certificate is for the name that its clients use
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(_TIMEOUT):
            status = await _status(parts.hostname, parts.port or 80, parts.path or "/", context)
    except TimeoutError:
        return f"no answer within {_TIMEOUT:g} s"
    except (OSError, ValueError, IndexError) as error:
        return f"no answer ({type(error).__name__})"
    return "" if status == 200 else f"it answers {status}"


async def _status(host: str, port: int, path: str, context: ssl.SSLContext | None) -> int:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
