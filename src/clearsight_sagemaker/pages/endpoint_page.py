"""Pages of endpoints: variants, a box to drop an image on, the end of the log, deletion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from clearsight_sagemaker.cloud.log_lines import lines_before
from clearsight_sagemaker.cloud.log_streams import ENDPOINTS_GROUP, streams
from clearsight_sagemaker.endpoints.controller import CHANGING, ENDPOINT
from clearsight_sagemaker.endpoints.runtime import MOST_BODY, Runtime
from clearsight_sagemaker.protocols.errors import ServiceError, json_error
from clearsight_sagemaker.resources.endpoints import delete_endpoint, describe_endpoint
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import ServiceState

_MOST_LOG = 32 << 10  # bytes of each model server
_MOST_SERVERS = 4  # whose logs are shown
_MOST_ENDPOINTS = 50

# Takes the name of a template and its values, and returns the page.
Render = Callable[[str, Mapping[str, Any]], Response]


class EndpointPages:
    """Handlers of the routes. prefix: of their paths."""

    def __init__(self, state: ServiceState, prefix: str, render: Render) -> None:
        self._state, self._prefix, self._render = state, prefix, render
        self._runtime = Runtime(state)

    @property
    def routes(self) -> list[Route]:
        """Return the routes."""
        root = f"{self._prefix}endpoints/{{name}}"
        return [
            Route(root, self.endpoint),
            Route(f"{root}/invocations", self.invocations, methods=["POST"]),
            Route(f"{root}/delete", self.delete, methods=["POST"]),
        ]

    async def endpoint(self, request: Request) -> Response:
        """One endpoint."""
        name = request.path_params["name"]
        values = await run_in_threadpool(_values, self._state, name)
        if values is None:
            raise HTTPException(404, f"There is no endpoint {name[:63]}.")
        return self._render("endpoint.html", values)

    async def invocations(self, request: Request) -> Response:
        """Send the body to the endpoint, as the runtime does for a client."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BODY:
                break  # the runtime says so
        try:
            return await self._runtime.respond(request, bytes(body))
        except ServiceError as error:
            return json_error(error)

    async def delete(self, request: Request) -> Response:
        """Delete the endpoint."""
        try:
            await run_in_threadpool(delete_endpoint, self._state, {"EndpointName": request.path_params["name"]})
        except ServiceError as error:
            raise HTTPException(400, error.message) from None
        return RedirectResponse("/", 303)


def endpoint_rows(state: ServiceState) -> list[dict[str, Any]]:
    """Return what the overview shows of endpoints, the newest first."""
    rows = state.table.every(ENDPOINT)[::-1][:_MOST_ENDPOINTS]
    return [
        {"name": row.name, "status": row.status, "created": row.created, "models": ", ".join(_models(row))}
        for row in rows
    ]


def _models(row: Resource) -> list[str]:
    found = [variant["model"] for part in row.document["deployments"] for variant in part["variants"]]
    return [*dict.fromkeys(found)]


def _values(state: ServiceState, name: str) -> dict[str, Any] | None:
    """Return what the template shows; None for an endpoint that is not there."""
    try:
        description = describe_endpoint(state, {"EndpointName": name})
    except ServiceError:
        return None
    shown = [*streams(state, f"{ENDPOINTS_GROUP}/{name}")]
    shown.sort(key=lambda stream: stream.created)
    logs = [
        {"name": stream.name, "lines": [line.message for line in lines_before(stream.path, None, _MOST_LOG)]}
        for stream in shown[-_MOST_SERVERS:]
    ]
    return {
        "endpoint": description,
        "variants": description["ProductionVariants"],
        "reason": description["FailureReason"],
        "logs": logs,
        "is_live": description["EndpointStatus"] in CHANGING,
        "can_delete": description["EndpointStatus"] not in CHANGING,
        "is_serving": state.endpoints.routes.get(name) is not None,
    }
