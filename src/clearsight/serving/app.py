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
from clearsight.serving.limits import Limits
from clearsight.serving.negotiation import answering, reading
from clearsight.serving.request_body import RequestBodyReader
from clearsight.serving.service import Service

_GONE = 499  # nginx's number for a client that left; only the log sees it


class Endpoint:
    """The routes, over one service. Codecs are looked up once: plug-ins are searched for at start, not per request."""

    def __init__(self, service: Service, limits: Limits) -> None:
        if limits.images > service.waiting:
            raise BadValue(
                f"limit images {limits.images}",
                f"the service lets only {service.waiting} wait, so it could never answer",
            )
        self._service, self._limits = service, limits
        self._intake = RequestBodyReader(limits)
        self._readers, self._writers = dict(iter(CODECS)), dict(iter(ACCEPTS))

    async def ping(self, request: Request) -> Response:
        """200 when the model has answered a canary, else 503 with the reason."""
        trouble = await self._service.trouble()
        if trouble:
            return JSONResponse({"status": "unavailable", "error": trouble}, 503, {"Retry-After": "1"})
        return JSONResponse({"status": "ok", "model": self._service.predictor.bundle.model})

    async def invocations(self, request: Request) -> Response:
        """Probabilities for the images in the body.

        The body is read before the headers are judged: a client hears a refusal only once it has stopped sending.
        """
        try:
            async with self._intake.body(request) as body:
                answer_type = answering(", ".join(request.headers.getlist("accept")), self._writers)
                read = self._readers[reading(request.headers.get("content-type"), body, self._readers)]
                answer = await self._service.answer(read, body, most=self._limits.images)
            return Response(self._writers[answer_type](answer), media_type=answer_type)
        except ClientDisconnect:
            return Response(status_code=_GONE)
        except Exception as error:  # told apart, logged and worded in one place
            return error_response(error)

    async def about(self, request: Request) -> Response:
        """What the endpoint is and takes."""
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
    """The endpoint over `service`. When it stops it closes the service, so an app serves once.

    Errors are {"error": sentence}: 400 bad body or image, 404, 405, 406, 408, 413, 415, 500 our fault, 503 busy or
    not ready (both with Retry-After).
    """
    endpoint = Endpoint(service, limits or Limits())

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.trouble()  # the first caller finds a warm model; what is wrong is in the log already
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
        exception_handlers={HTTPException: _no_route, Exception: _our_fault},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would make clients send their image twice
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    wrong = "no such method here" if status == 405 else "no such path here"
    return JSONResponse({"error": f"There is {wrong}; use GET /, GET /ping or POST /invocations."}, status, headers)


async def _our_fault(request: Request, error: Exception) -> Response:
    return error_response(error)
