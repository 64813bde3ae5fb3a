"""Journal: one log line per request: method, path, status, sizes and time; never a body, a query or a header."""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("clearsight.serving.requests")

_LONGEST_PATH = 100


class AccessLog:
    """ASGI middleware around `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status, taken, given = 0, 0, 0

        async def counted_receive() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, given
            status = message.get("status", status)
            given += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counted_receive, counted_send)
        finally:
            path = quote(scope["path"][:_LONGEST_PATH])  # a path may hold line breaks
            spent = 1000 * (time.perf_counter() - begun)
            LOG.info("%s %s %d, %d B in, %d B out, %.1f ms", scope["method"], path, status, taken, given, spent)
