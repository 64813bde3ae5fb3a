"""Middleware of an endpoint: access log, request counts, token, and origins of web pages."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import time
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearsight.core.errors import BadValue
from clearsight.serving.metrics import WorkerCounters

_REQUESTS = logging.getLogger("clearsight.serving.requests")
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_LONGEST_PATH = 100  # characters: a longer path would flood the log
_HEALTH = ("/livez", "/ping")
_OPEN_PATHS = (*_HEALTH, "/docs")  # load balancers send no token, nor does a browser's address bar
CLIENT_GONE = 499  # nginx's status for a client that closed the connection; it appears in the log alone


class AccessLog:
    """ASGI middleware: a log line per request with method, path, status, sizes, time and id; no body, query or header.

    Health checks that succeed are of level DEBUG, all others INFO.

    The id is that of the header X-Request-Id where the client sends one of 1 to 64 letters, digits, "-", "_" and ".",
    else a random one; the response has it too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the start and the end of the app
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        identity = _request_id(scope)
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
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-request-id", identity.encode())]}
            await send(message)

        try:
            await self.app(scope, counted_receive, counted_send)
        finally:
            path = quote(scope["path"][:_LONGEST_PATH])  # a path may hold line breaks, which would forge log lines
            milliseconds = 1000 * (time.perf_counter() - start)
            sizes = f"{received} B in, {sent} B out"
            # A supervisor asks every few seconds: such a line says something only where the answer is another one.
            level = logging.DEBUG if scope["path"] in _HEALTH and status == 200 else logging.INFO
            text = "%s %s %d, %s, %.1f ms, %s"
            _REQUESTS.log(level, text, scope["method"], path, status, sizes, milliseconds, identity)


def _request_id(scope: Scope) -> str:
    sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


class RequestCounter:
    """ASGI middleware: counts requests, their statuses and their latencies."""

    def __init__(self, app: ASGIApp, counters: WorkerCounters) -> None:
        self.app, self._counters = app, counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_invocation(scope):  # health checks are no requests of a client
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def noted_send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._counters.begin()
        try:
            await self.app(scope, receive, noted_send)
        finally:
            self._counters.end(0 if status == CLIENT_GONE else status, time.perf_counter() - start)


class TokenCheck:
    """ASGI middleware: 401 for requests without the token, but for health checks."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self._wanted = app, f"bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN_PATHS or self._has_token(scope):
            await self.app(scope, receive, send)
            return
        text = "The request has no valid token. Send the header Authorization: Bearer TOKEN."
        await JSONResponse({"error": text}, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _has_token(self, scope: Scope) -> bool:
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = sent.partition(b" ")
        # The time of the comparison does not depend on how much of it is right.
        return hmac.compare_digest(scheme.lower() + b" " + token.strip(), self._wanted)


def is_invocation(scope: Scope) -> bool:
    """Return True for a request for predictions."""
    return scope["type"] == "http" and str(scope["path"]).endswith("/invocations")


class Origins(CORSMiddleware):
    """CORS of Starlette, whose refusal of a preflight is JSON as every other one."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        text = f"A page of {request_headers['origin'][:100]!r} may not send this request; see --allow-origin."
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return JSONResponse({"error": text}, response.status_code, headers)


def check_origin(origin: str) -> str:
    """Return an origin as browsers send it; raises BadValue for text that no browser sends. "*" is any origin."""
    plain = origin.strip().rstrip("/").lower()
    if plain != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+", plain):
        fix = "Pass what the browser's address bar has before the first slash, such as http://localhost:3000, or *."
        raise BadValue(f"--allow-origin {origin}", "it is no origin", fix=fix)
    return plain
