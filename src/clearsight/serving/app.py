"""The endpoint as an ASGI application: GET /ping, POST /invocations, GET /."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearsight.core.errors import BadValue
from clearsight.serving.access_log import AccessLog
from clearsight.serving.codecs import ACCEPTS, CODECS
from clearsight.serving.error_responses import error_response
from clearsight.serving.negotiation import request_type, response_type
from clearsight.serving.request_body import Limits, RequestBodyReader
from clearsight.serving.service import Service

_CLIENT_GONE = 499  # nginx's status for a client that closed the connection; it appears in the log alone


class Endpoint:
    """Routes of the endpoint, over one service. Codecs are looked up at the start, not per request."""

    def __init__(self, service: Service, limits: Limits) -> None:
        if limits.images > service.waiting:
            raise BadValue(
                f"limit images {limits.images}",
                f"the service queues at most {service.waiting} images, so such a request could never be answered",
            )
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
                prediction = await self._service.predict(read, body, most=self._limits.images)
            return Response(self._writers[accepted](prediction), media_type=accepted)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_GONE)
        except Exception as error:  # one place decides status, wording and what is logged
            return error_response(error)

    async def about(self, request: Request) -> Response:
        """Return a description of the endpoint: model, classes, media types, limits."""
        bundle = self._service.predictor.bundle
        return JSONResponse(
            {
                "service": "clearsight",
                "model": bundle.model,
                "classes": list(bundle.classes),
                "image_size": bundle.preprocess.size,
                "invocations": {"accepts": list(self._readers), "answers": list(self._writers)},
                "limits": asdict(self._limits),
            }
        )


def build_app(service: Service, limits: Limits | None = None) -> Starlette:
    """Return the application over `service`. It closes the service when it stops, so an app can be served once.

    Errors are {"error": sentence}: 400 bad body or image, 404, 405, 406, 408, 413, 415, 500 internal error, 503 busy
    or not ready (with Retry-After).
    """
    endpoint = Endpoint(service, limits or Limits())

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
        middleware=[Middleware(AccessLog)],
        exception_handlers={HTTPException: _route_error, Exception: _internal_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would make clients send their image twice
    return app


async def _route_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    missing = "method" if status == 405 else "path"
    return JSONResponse(
        {"error": f"There is no such {missing} here; use GET /, GET /ping or POST /invocations."}, status, headers
    )


async def _internal_error(request: Request, error: Exception) -> Response:
    return error_response(error)
