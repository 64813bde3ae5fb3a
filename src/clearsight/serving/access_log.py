"""AccessLog: one log line per request with method, path, status, sizes and time; never a body, query or header."""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("clearsight.serving.requests")

_LONGEST_PATH = 100  # characters: a longer path would flood the log


class AccessLog:
    """ASGI middleware that logs the requests to `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the start and the end of the app
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        status, received, sent = 0, 0, 0  # status 0: the client left before a response

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counted_receive, counted_send)
        finally:
            path = quote(scope["path"][:_LONGEST_PATH])  # a path may hold line breaks, which would forge log lines
            milliseconds = 1000 * (time.perf_counter() - start)
            LOG.info(
                "%s %s %d, %d B in, %d B out, %.1f ms", scope["method"], path, status, received, sent, milliseconds
            )
