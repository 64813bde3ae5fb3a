"""The endpoint as an ASGI application: GET /ping, POST /invocations, GET /."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import asdict
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearsight.core.errors import BadValue
from clearsight.serving.codecs import ACCEPTS, CODECS
from clearsight.serving.error_responses import error_response
from clearsight.serving.negotiation import request_type, response_type
from clearsight.serving.request_body import Limits, RequestBodyReader
from clearsight.serving.service import Service

T = TypeVar("T")

_REQUESTS = logging.getLogger("clearsight.serving.requests")
_LONGEST_PATH = 100  # characters: a longer path would flood the log
_CLIENT_GONE = 499  # nginx's status for a client that closed the connection; it appears in the log alone


class AccessLog:
    """ASGI middleware: a log line per request with method, path, status, sizes and time; no body, query or header."""

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
            sizes = f"{received} B in, {sent} B out"
            _REQUESTS.info("%s %s %d, %s, %.1f ms", scope["method"], path, status, sizes, milliseconds)


class Endpoint:
    """Routes of the endpoint, over one service. Codecs are looked up at the start, not per request."""

    def __init__(self, service: Service, limits: Limits) -> None:
        if limits.images > service.waiting:
            problem = f"the service queues at most {service.waiting} images, so such a request could never be answered"
            raise BadValue(f"limit images {limits.images}", problem)
        self._service, self._limits = service, limits
        self._bodies = RequestBodyReader(limits)
        self._readers, self._writers = dict(iter(CODECS)), dict(iter(ACCEPTS))

    async def ping(self, request: Request) -> Response:
        """Return 200 when the model has classified a test image, else 503 with the reason."""
        problem = await self._service.problem()
        if problem:
            # 503 takes the endpoint out of a load balancer; a second later the model may have warmed up.
            return JSONResponse({"status": "unavailable", "error": problem}, 503, {"Retry-After": "1"})
        return JSONResponse({"status": "ok", "model": self._service.predictor.bundle.model})

    async def invocations(self, request: Request) -> Response:
        """Return probabilities for the images in the body.

        The body is read before the headers are checked: many clients read a response only after sending everything.
        """
        try:
            async with self._bodies.body(request) as body:
                accepted = response_type(", ".join(request.headers.getlist("accept")), self._writers)
                read = self._readers[request_type(request.headers.get("content-type"), body, self._readers)]
                work = self._service.predict(read, body, self._limits)
                prediction = await _while_connected(request, work)
            return Response(self._writers[accepted](prediction), media_type=accepted)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_GONE)
        except Exception as error:  # one place decides status, wording and what is logged
            return error_response(error)

    async def about(self, request: Request) -> Response:
        """Return a description of the endpoint: model, classes, media types, limits."""
        bundle = self._service.predictor.bundle
        description = {
            "service": "clearsight",
            "model": bundle.model,
            "classes": list(bundle.classes),
            "image_size": bundle.preprocess.size,
            "invocations": {"accepts": list(self._readers), "answers": list(self._writers)},
            "limits": asdict(self._limits),
        }
        return JSONResponse(description)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled when the client leaves; raises ClientDisconnect then."""
    task = asyncio.ensure_future(work)
    # Behind the whole body, the only message is that the client has left.
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for waiting in (task, gone):
            waiting.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


class _Origins(CORSMiddleware):
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


def build_app(service: Service, limits: Limits | None = None, origins: Sequence[str] = ()) -> Starlette:
    """Return the application over `service`. It closes the service when it stops, so an app can be served once.

    origins: of web pages that may use it from a browser, such as "http://localhost:3000"; "*" is any.

    Errors are {"error": sentence}: 400 bad body or image, 404, 405, 406, 408, 413, 415, 500 internal error, 503 busy
    or not ready (with Retry-After).
    """
    endpoint = Endpoint(service, limits or Limits())
    allowed = [check_origin(origin) for origin in origins]
    cors = [Middleware(_Origins, allow_origins=allowed, allow_methods=["GET", "POST"], allow_headers=["*"])]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.problem()  # warms the model up before the first request; a problem is logged
        try:
            yield
        finally:
            service.close()

    app = Starlette(
        routes=[
            Route("/", endpoint.about, methods=["GET"]),
            Route("/ping", endpoint.ping, methods=["GET"]),
            Route("/invocations", endpoint.invocations, methods=["POST"]),
        ],
        middleware=[Middleware(AccessLog), *(cors if allowed else ())],
        exception_handlers={HTTPException: _route_error, Exception: _internal_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would make clients send their image twice
    return app


async def _route_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    missing = "method" if error.status_code == 405 else "path"
    text = f"There is no such {missing} here; use GET /, GET /ping or POST /invocations."
    return JSONResponse({"error": text}, error.status_code, error.headers)


async def _internal_error(request: Request, error: Exception) -> Response:
    return error_response(error)
