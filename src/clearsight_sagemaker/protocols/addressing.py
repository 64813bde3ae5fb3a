"""Which service a request is for. One port serves all: by target, scope of the signature, form, and path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs

from starlette.requests import Request

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.protocols.service_models import SERVICES, AwsService

_SCOPE = re.compile(r"Credential=[^/,\s]*/\d{8}/[^/,\s]*/([^/,\s]+)/aws4_request")
_FORM = "application/x-www-form-urlencoded"
_RUNTIME_PATH = re.compile(r"/endpoints/[^/]+/(async-)?invocations(-response-stream)?")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Destination of a request. kind: the protocol.  service: None for S3 and the runtime of endpoints.

    operation: from the target or the path of a JSON request, "" for a form, whose body says it.
    """

    kind: Literal["json", "rest", "query", "s3", "runtime"]
    service: AwsService | None = None
    operation: str = ""


def address_of(request: Request) -> Address:
    """Return where a request goes; raises ServiceError for a service that is not here."""
    scope = scope_of(request)
    if target := request.headers.get("x-amz-target", ""):
        prefix, _, operation = target.rpartition(".")
        service = next((service for service in SERVICES if service.target == prefix), None)
        if service is None:
            raise _no_service(scope or prefix)
        return Address(kind="json", service=service, operation=operation)
    if service := rest_service(request):
        return Address(kind="rest", service=service, operation=request.url.path.strip("/"))
    is_form = request.headers.get("content-type", "").startswith(_FORM)
    if scope == "sagemaker" and _RUNTIME_PATH.fullmatch(request.url.path):
        return Address(kind="runtime")
    if scope and scope != "s3":
        service = next((service for service in SERVICES if service.scope == scope), None)
        if service is None or not is_form or not service.version:
            raise _no_service(f"{scope} ({request.method} {request.url.path})" if service else scope)
        return Address(kind="query", service=service)
    if not scope and is_form and request.method == "POST" and request.url.path == "/":
        return Address(kind="query")
    return Address(kind="s3")


def rest_service(request: Request) -> AwsService | None:
    """Return the service of a path of REST-JSON; no bucket may have such a name."""
    return next((service for service in SERVICES if request.url.path in service.paths), None)


def service_of_form(form: Mapping[str, str]) -> AwsService:
    """Return the service of a form without a signature, by its version; raises ServiceError."""
    service = next((service for service in SERVICES if service.version == form.get("Version", "-")), None)
    if service is None:
        raise _no_service(form.get("Version", "a form without Version"))
    return service


def scope_of(request: Request) -> str:
    """Return the service in the scope of a signature, header or presigned; "" for none, "s3" for version 2."""
    authorization = request.headers.get("authorization", "")
    if found := _SCOPE.search(authorization):
        return found.group(1)
    if authorization.startswith("AWS "):
        return "s3"
    query = parse_qs(request.url.query)
    if found := _SCOPE.fullmatch(f"Credential={query.get('X-Amz-Credential', [''])[0]}"):
        return found.group(1)
    return ""


def is_query_form(request: Request) -> bool:
    """Return True where a client expects XML for an error."""
    return request.headers.get("content-type", "").startswith(_FORM)


def _no_service(name: str) -> ServiceError:
    names = ", ".join(["s3", *(service.scope for service in SERVICES)])
    text = f"The local service has no {name[:100]}. It has: {names}."
    return ServiceError("UnknownOperationException", text)
