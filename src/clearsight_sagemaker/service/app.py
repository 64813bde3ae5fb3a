"""ASGI application of the service: each request goes to the operation of a service, or to S3."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearsight.core.errors import ClearsightError
from clearsight_sagemaker.endpoints.runtime import MOST_BODY, Runtime
from clearsight_sagemaker.pages.app import build_pages, is_page
from clearsight_sagemaker.protocols.addressing import (
    Address,
    address_of,
    is_query_form,
    rest_service,
    service_of_form,
)
from clearsight_sagemaker.protocols.errors import ServiceError, json_error, xml_error
from clearsight_sagemaker.protocols.json_protocol import json_response, read_parameters
from clearsight_sagemaker.protocols.query_protocol import query_response, read_form
from clearsight_sagemaker.protocols.query_protocol import read_parameters as read_form_parameters
from clearsight_sagemaker.protocols.service_models import AwsService, not_available, operation_model, service_model
from clearsight_sagemaker.protocols.signature import SignatureKey, check_signature
from clearsight_sagemaker.protocols.validation import check_request
from clearsight_sagemaker.s3.app import build_s3_app
from clearsight_sagemaker.s3.store import ObjectStore
from clearsight_sagemaker.s3.xml_text import error_document
from clearsight_sagemaker.service.operations import OPERATIONS
from clearsight_sagemaker.state.service_state import ServiceState

LOG = logging.getLogger("clearsight.sagemaker")

HEALTH_PATH = "/_clearsight/health"
_MOST_BODY = 4 << 20  # bytes of a request that is not an object; the list of 10,000 parts has 1.5 MB
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "testserver")
# Parts of a query that an upload may have; with any other one, the body is a small document.
_UPLOAD_PARTS = ("uploadId", "partNumber", "x-id", "AWSAccessKeyId", "Signature", "Expires")


class ServiceApp:
    """All services on one port.

    require_signature: refuse requests that are not signed with the key of the account. Without it, requests must name
    this machine as their host and may not come from a page in a browser.
    """

    def __init__(self, state: ServiceState, store: ObjectStore, *, require_signature: bool = False) -> None:
        self._state, self._s3, self._pages = state, build_s3_app(store), build_pages(state, store)
        account = state.account
        key = SignatureKey(access_key=account.access_key, secret_key=account.secret_key)
        self._key = key if require_signature else None
        self._runtime = Runtime(state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._s3(scope, self._closing(receive), send)  # the start and the end of the application
            return
        identity = str(uuid.uuid4())
        request, send = Request(scope, receive), _with_identity(send, identity)
        try:
            response = await self._respond(request, identity)
        except ClientDisconnect:
            return
        except ServiceError as error:
            response = _error_response(request, error, identity)
        except (ClearsightError, OSError, SQLAlchemyError) as error:  # a full disk, a database that does not answer
            LOG.error("%s: %s", type(error).__name__, error)
            sentence = str(error).splitlines()[0] if str(error) else type(error).__name__
            response = _error_response(request, ServiceError("InternalFailure", sentence, 500), identity)
        await response(scope, request.receive, send)

    def _closing(self, receive: Receive) -> Receive:
        """Return a function that closes the connections to model servers when the application ends."""

        async def receive_and_close() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._runtime.close()
            return message

        return receive_and_close

    async def _respond(self, request: Request, identity: str) -> ASGIApp:
        if request.url.path == HEALTH_PATH:
            active = await run_in_threadpool(self._state.training_jobs.count_active)
            serving = self._state.endpoints.routes.count
            return JSONResponse({"status": "ok", "active_jobs": active, "endpoints": serving})
        if self._key is None:
            _check_local(request)
        if is_page(request):
            if self._key is not None:
                text = "A service with --require-signature has no pages: a browser cannot sign its requests."
                raise ServiceError("AccessDenied", text, 403)
            return self._pages
        address = address_of(request)
        # A little more than an endpoint takes: the runtime refuses it in the words of AWS.
        most = MOST_BODY + (1 << 20) if address.kind == "runtime" else _MOST_BODY
        body = None if address.kind == "s3" and _is_upload(request) else await _bounded_body(request, most)
        if self._key is not None:
            request.scope["chunk_signatures"] = check_signature(request, self._key, body)
        if address.kind == "s3" and self._state.s3_endpoint:
            text = f"The objects of this service are at {self._state.s3_endpoint}. Set AWS_ENDPOINT_URL_S3."
            raise ServiceError("AccessDenied", text, 403)
        if address.kind == "s3":
            return self._s3 if body is None else _with_body(self._s3, body)
        if address.kind == "runtime":
            return await self._runtime.respond(request, body or b"")
        if address.kind == "query":
            return await self._query(request, address, body or b"", identity)
        return await self._json(request, address, body or b"")

    async def _json(self, request: Request, address: Address, body: bytes) -> Response:
        service, operation = _service(address), address.operation
        shape = operation_model(service, operation).input_shape
        result = await self._run(service, operation, read_parameters(body), shape)
        if address.kind == "rest":
            return json_response(result, operation_model(service, operation).output_shape, "")
        version = "1.0" if request.headers.get("content-type", "").endswith("1.0") else "1.1"
        return json_response(result, operation_model(service, operation).output_shape, version)

    async def _query(self, request: Request, address: Address, body: bytes, identity: str) -> Response:
        form = read_form(body)
        service = address.service or service_of_form(form)
        model = operation_model(service, form.get("Action", ""))
        result = await self._run(service, model.name, read_form_parameters(form, model.input_shape), model.input_shape)
        namespace = service_model(service.name).metadata["xmlNamespace"]
        return query_response(result, model, namespace, identity)

    async def _run(
        self, service: AwsService, operation: str, parameters: Mapping[str, object], shape: object
    ) -> Mapping[str, object] | None:
        handler = OPERATIONS.get((service.name, operation))
        if handler is None:
            raise not_available(service, operation)
        check_request(parameters, shape)
        result = await run_in_threadpool(handler, self._state, parameters)
        LOG.info("%s %s", service.name, operation)
        return result


def _service(address: Address) -> AwsService:
    if address.service is None:
        raise AssertionError("a JSON request has a service")
    return address.service


def _check_local(request: Request) -> None:
    """Raise ServiceError for a request that a page of somebody else makes through the user's browser."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    if host not in _LOOPBACK:
        text = f"The Host header names {host}. Without signatures, the service is for clients on this machine."
        raise ServiceError("AccessDenied", text, 403)
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise ServiceError("AccessDenied", "Pages of other sites may not use the service.", 403)


def _is_upload(request: Request) -> bool:
    """Return True where the body is an object or a part, which S3 streams to the disk."""
    names = {name for name, _ in parse_qsl(request.url.query, keep_blank_values=True)}
    others = {name for name in names - {*_UPLOAD_PARTS} if not name.lower().startswith("x-amz-")}
    return request.method == "PUT" and "/" in request.url.path.lstrip("/") and not others


async def _bounded_body(request: Request, most: int) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            text = f"The request body has more than {most >> 20} MiB."
            raise ServiceError("RequestEntityTooLarge", text, 413)
    return bytes(body)


def _with_body(app: ASGIApp, body: bytes) -> ASGIApp:
    """Return the application for a request whose body was read already."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        is_sent = False

        async def receive_again() -> Message:
            nonlocal is_sent
            if is_sent:
                return await receive()
            is_sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await app(scope, receive_again, send)

    return respond


def _with_identity(send: Send, identity: str) -> Send:
    async def send_with_identity(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["x-amzn-RequestId"] = identity
        await send(message)

    return send_with_identity


def _error_response(request: Request, error: ServiceError, identity: str) -> Response:
    if "x-amz-target" in request.headers or rest_service(request):
        return json_error(error)
    if is_query_form(request):
        return xml_error(error, identity)
    if request.url.path.startswith("/endpoints/") or error.code == "UnknownOperationException":
        return json_error(error)
    body = error_document(error.code, error.message, request.url.path, identity)
    return Response(b"" if request.method == "HEAD" else body, error.status, media_type="application/xml")
