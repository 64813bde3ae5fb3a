"""The endpoint as an ASGI application: GET /ping, /livez, /metrics and /, POST /invocations."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from clearsight.core.errors import BadValue
from clearsight.serving.data_capture import CaptureMiddleware, DataCapture
from clearsight.serving.error_responses import error_response
from clearsight.serving.metrics import WorkerCounters, prometheus, totals
from clearsight.serving.middleware import (
    CLIENT_GONE,
    AccessLog,
    Origins,
    RequestCounter,
    TokenCheck,
    check_origin,
)
from clearsight.serving.openapi import openapi, page
from clearsight.serving.request_body import Limits, RequestBodyReader
from clearsight.serving.served_model import ModelRequest, ServedModel
from clearsight.serving.variants import VARIANT_WANTED

T = TypeVar("T")

# The page's own style and script alone, which speak to the endpoint alone.
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src blob:"
)


class Endpoint:
    """Routes of the endpoint, over one model."""

    def __init__(
        self,
        model: ServedModel,
        limits: Limits,
        counters: WorkerCounters | None = None,
        variants: Mapping[str, Path] | None = None,
        *,
        has_token: bool = False,
    ) -> None:
        if model.most_images is not None and limits.images > model.most_images:
            problem = (
                f"the service queues at most {model.most_images} images, so such a request could never be answered"
            )
            raise BadValue(f"limit images {limits.images}", problem)
        self._model, self._limits, self._counters, self._has_token = model, limits, counters, has_token
        self._variants = variants or {}
        self._bodies = RequestBodyReader(limits)

    async def ping(self, request: Request) -> Response:
        """Return 200 when the model has classified a test image, else 503 with the reason."""
        problem = await self._model.problem()
        if problem:
            # 503 takes the endpoint out of a load balancer; a second later the model may have warmed up.
            return JSONResponse({"status": "unavailable", "error": problem}, 503, {"Retry-After": "1"})
        return JSONResponse({"status": "ok", "model": self._model.description.model})

    async def alive(self, request: Request) -> Response:
        """Return 200: the process answers, whatever its model does."""
        return JSONResponse({"status": "alive"})

    async def metrics(self, request: Request) -> Response:
        """Return the counters of all workers, for Prometheus."""
        assert self._counters is not None
        variants = {name: totals(folder) for name, folder in self._variants.items()}
        text = prometheus(totals(self._counters.folder), self._model.description.classes, variants)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(self, request: Request) -> Response:
        """Return a page with a form for an image, and examples for programs."""
        url = str(request.base_url).rstrip("/")
        text = page(self._model.description, url, token=self._has_token)
        return HTMLResponse(text, headers={"Content-Security-Policy": _PAGE_POLICY})

    async def openapi(self, request: Request) -> Response:
        """Return the endpoint as OpenAPI."""
        return JSONResponse(openapi(self._model.description))

    async def invocations(self, request: Request) -> Response:
        """Return probabilities for the images in the body.

        The body is read before the headers are checked: many clients read a response only after sending everything.
        """
        try:
            async with self._bodies.body(request) as body:
                asked = ModelRequest(
                    body=body,
                    content_type=request.headers.get("content-type"),
                    accept=", ".join(request.headers.getlist("accept")),
                    variant=request.headers.get(VARIANT_WANTED, ""),
                )
                response = await _while_connected(request, self._model.respond(asked, self._limits))
            if self._counters is not None:
                self._counters.predicted(response.classes, response.confidences)
            return Response(response.body, response.status, dict(response.headers), media_type=response.media_type)
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)
        except Exception as error:  # one place decides status, wording and what is logged
            return error_response(error)

    async def about(self, request: Request) -> Response:
        """Return a description of the endpoint: model, classes, media types, limits."""
        model = self._model.description
        about = {
            "service": "clearsight",
            "model": model.model,
            "classes": list(model.classes),
            "image_size": model.image_size,
            "invocations": {"accepts": list(model.reads), "answers": list(model.writes)},
            "limits": asdict(self._limits),
        }
        return JSONResponse(about)


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


def build_app(
    model: ServedModel,
    limits: Limits | None = None,
    origins: Sequence[str] = (),
    *,
    token: str = "",
    counters: WorkerCounters | None = None,
    variants: Mapping[str, Path] | None = None,
    capture: DataCapture | None = None,
) -> Starlette:
    """Return the application over `model`. It closes the model when it stops, so an app can be served once.

    origins: of web pages that may use it from a browser, such as "http://localhost:3000"; "*" is any.
    token: that clients must send as "Authorization: Bearer TOKEN", but to /ping and /livez; "" for none.
    counters: of this process, where several serve together; they add the route /metrics.
    variants: folder of the counters of each variant, where there are several.  capture: of requests and responses.

    Errors are {"error": sentence}: 400 bad body or image, 404, 405, 406, 408, 413, 415, 500 internal error, 503 busy
    or not ready (with Retry-After).
    """
    endpoint = Endpoint(model, limits or Limits(), counters, variants, has_token=bool(token))
    allowed = [check_origin(origin) for origin in origins]
    cors = [Middleware(Origins, allow_origins=allowed, allow_methods=["GET", "POST"], allow_headers=["*"])]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await model.problem()  # warms the model up before the first request; a problem is logged
        try:
            yield
        finally:
            model.close()
            if capture is not None:
                capture.close()

    app = Starlette(
        routes=[
            Route("/", endpoint.about, methods=["GET"]),
            Route("/ping", endpoint.ping, methods=["GET"]),
            Route("/livez", endpoint.alive, methods=["GET"]),
            *([Route("/metrics", endpoint.metrics, methods=["GET"])] if counters is not None else []),
            Route("/invocations", endpoint.invocations, methods=["POST"]),
            # The endpoint's clients name it, as those of SageMaker's runtime do.
            Route("/endpoints/{name}/invocations", endpoint.invocations, methods=["POST"]),
            Route("/docs", endpoint.page, methods=["GET"]),
            Route("/openapi.json", endpoint.openapi, methods=["GET"]),
        ],
        middleware=[
            *([Middleware(RequestCounter, counters=counters)] if counters is not None else []),
            Middleware(AccessLog),
            *(cors if allowed else ()),
            *([Middleware(TokenCheck, token=token)] if token else []),
            *([Middleware(CaptureMiddleware, capture=capture)] if capture is not None else []),
        ],
        exception_handlers={HTTPException: _route_error, Exception: _internal_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would make clients send their image twice
    return app


async def _route_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    missing = "method" if error.status_code == 405 else "path"
    text = f"There is no such {missing} here; use GET /, GET /docs, GET /ping or POST /invocations."
    return JSONResponse({"error": text}, error.status_code, error.headers)


async def _internal_error(request: Request, error: Exception) -> Response:
    return error_response(error)
