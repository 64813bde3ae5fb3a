"""HTTP of a model server: /ping, /invocations and /execution-parameters, as SageMaker's containers have them."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from clearsight_sagemaker.hosting.model_server import ModelServer

TOKEN_HEADER, TIMEOUT_HEADER = "x-clearsight-token", "x-clearsight-timeout"
_MOST_BODY = 1 << 30  # bytes: the limit of asynchronous invocations
_MOST_SECONDS = 3600.0
_THREADS = 128  # requests that wait for the model or are answered
_MOST_CONNECTIONS = 512
_DRAIN_SECONDS = 60


class ServerApp:
    """Routes of a model server. token: "" for none."""

    def __init__(self, server: ModelServer, token: str) -> None:
        self._server, self._token = server, token
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="invocation")

    async def ping(self, request: Request) -> Response:
        """Return 200 while a process of the model answers, else 503 with the reason."""
        problem = self._server.problem
        return PlainTextResponse(problem, 503) if problem else Response(status_code=200)

    async def execution_parameters(self, request: Request) -> Response:
        """Return what batch transform uses where its request leaves it out."""
        return JSONResponse(
            {"MaxConcurrentTransforms": self._server.workers, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
        )

    async def invocations(self, request: Request) -> Response:
        """Return the model's answer."""
        if self._token and not secrets.compare_digest(request.headers.get(TOKEN_HEADER, ""), self._token):
            return PlainTextResponse("The token of this server is missing.", 403)
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > _MOST_BODY:
                return PlainTextResponse(f"The body has more than {_MOST_BODY} bytes.", 413)
        content_type, accept = (request.headers.get(name, "") for name in ("content-type", "accept"))
        timeout = _seconds(request.headers.get(TIMEOUT_HEADER, ""))
        result = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._server.invoke, bytes(body), content_type, accept, timeout
        )
        # Not media_type: Starlette would add a charset to texts.
        return Response(result.body, result.status, {"content-type": result.content_type})


def build_server_app(server: ModelServer, token: str = "") -> Starlette:
    """Return the application of a model server."""
    app = ServerApp(server, token)
    return Starlette(
        routes=[
            Route("/ping", app.ping, methods=["GET"]),
            Route("/execution-parameters", app.execution_parameters, methods=["GET"]),
            Route("/invocations", app.invocations, methods=["POST"]),
        ]
    )


def serve_http(app: Starlette, on_ready: Callable[[int], None]) -> None:
    """Serve on a free port of loopback until SIGTERM; requests that are being answered come to their end.

    on_ready: gets the port once it is listened on.
    """
    # asyncio sends small pieces at once where the protocol is named; an answer waits 40 ms otherwise.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=3600,  # the service keeps its connections
            timeout_graceful_shutdown=_DRAIN_SECONDS,
            server_header=False,
            date_header=False,
        )
        on_ready(listener.getsockname()[1])
        uvicorn.Server(config).run(sockets=[listener])


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, _MOST_SECONDS) if seconds > 0 else None
