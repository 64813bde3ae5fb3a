"""Runtime of endpoints: invocations at once, as a stream of events, and asynchronous ones."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from clearsight.serving.data_capture import CapturedBody
from clearsight_sagemaker.endpoints.async_invocations import AsyncRequest
from clearsight_sagemaker.endpoints.endpoint_metrics import Invocation
from clearsight_sagemaker.endpoints.event_stream import MEDIA_TYPE, payload_parts
from clearsight_sagemaker.endpoints.instance import InstanceRequest, InstanceUnavailable
from clearsight_sagemaker.endpoints.routes import EndpointRoute, VariantRoute
from clearsight_sagemaker.hosting.model_server import TIMED_OUT, TIMEOUT_TEXT
from clearsight_sagemaker.hosting.worker import InvocationResult
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.training.objects import join_uri

if TYPE_CHECKING:
    from clearsight_sagemaker.state.service_state import ServiceState

MOST_BODY = 6_291_456  # bytes, of botocore's model
_MOST_ASYNC_BODY = 128_000
_SECONDS = 60.0  # that a model has, and a little more for the way
_WAIT_SECONDS, _POLL_SECONDS = 30.0, 0.02  # for a model server that is being started again
_MOST_MESSAGE = 2048  # characters of a model's error
_PREFIX = "x-amzn-sagemaker-"
_MODEL_ERROR = 424


@dataclass(frozen=True, kw_only=True, slots=True)
class _ModelResult:
    """A result with the variant that it came from. seconds: of the model.  sent: time of the request's start."""

    result: InvocationResult
    variant: VariantRoute
    seconds: float


class Runtime:
    """Handlers of the requests to endpoints, for one event loop."""

    def __init__(self, state: ServiceState) -> None:
        self._state, self._endpoints = state, state.endpoints

    async def respond(self, request: Request, body: bytes) -> Response:
        """Return the response to a request whose path is /endpoints/NAME/KIND. Raises ServiceError."""
        _, _, name, kind = request.url.path.split("/")[-4:]
        if len(body) > MOST_BODY:
            text = f"Member must have length less than or equal to {MOST_BODY}"
            raise _validation(f"1 validation error detected: Value at 'body' failed to satisfy constraint: {text}")
        if kind == "async-invocations":
            return await run_in_threadpool(self._accept, request, name, body)
        return await self._invoke(request, name, body, is_stream=kind.endswith("response-stream"))

    async def close(self) -> None:
        """Close the connections to model servers."""
        self._endpoints.routes.close_connections()
        await asyncio.sleep(0)  # in which the event loop closes them

    async def _invoke(self, request: Request, name: str, body: bytes, *, is_stream: bool) -> Response:
        start = time.perf_counter()
        route = self._route(name)
        accept = request.headers.get(f"{_PREFIX}accept" if is_stream else "accept", "")
        content_type = request.headers.get("content-type", "")
        sent = InstanceRequest(body=body, content_type=content_type, accept="" if accept == "*/*" else accept)
        variant = request.headers.get(f"{_PREFIX}target-variant", "")
        outcome = await self._ask(name, route, variant, sent)
        result = outcome.result
        headers = {"x-Amzn-Invoked-Production-Variant": outcome.variant.name}
        if attributes := request.headers.get(f"{_PREFIX}custom-attributes"):
            headers["X-Amzn-SageMaker-Custom-Attributes"] = attributes
        self._record(name, outcome, time.perf_counter() - start - outcome.seconds)
        if result.status != 200:
            return self._model_error(name, result, headers)
        if self._endpoints.captured.draw(route.deployment.capture):
            bodies = CapturedBody(content_type, body), CapturedBody(result.content_type, result.body)
            inference_id = request.headers.get(f"{_PREFIX}inference-id", "")
            place = (name, outcome.variant.name)
            self._endpoints.captured.add(route.deployment.capture, place, bodies, inference_id)
        if is_stream:
            headers["X-Amzn-SageMaker-Content-Type"] = result.content_type
            return StreamingResponse(payload_parts(result.body), headers=headers, media_type=MEDIA_TYPE)
        # Not media_type: Starlette would add a charset to texts.
        return Response(result.body, headers={**headers, "content-type": result.content_type})

    def _route(self, name: str) -> EndpointRoute:
        route: EndpointRoute | None = self._endpoints.routes.get(name)
        if route is None:
            raise _validation(f"Endpoint {name[:63]} of account {self._state.account.account} not found.")
        return route

    async def _ask(self, name: str, route: EndpointRoute, target: str, request: InstanceRequest) -> _ModelResult:
        """Return what a model server answers; one that is being started again is waited for."""
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            variant = route.variant(target)
            if variant is None and target:
                raise _validation(f"Variant {target[:63]} of endpoint {name} not found.")
            instance = variant.instance() if variant is not None else None
            if variant is not None and instance is not None:
                start = time.perf_counter()
                try:
                    with instance.reserved():
                        result = await instance.invoke(request, _SECONDS + 1)
                except TimeoutError:
                    result = InvocationResult(TIMED_OUT, TIMEOUT_TEXT.encode(), "text/plain")
                except InstanceUnavailable as error:
                    if error.sent:  # the model may have had it: whether it is repeated is for the client to say
                        raise _unavailable(name, str(error)) from None
                    result = None
                if result is not None:
                    return _ModelResult(result=result, variant=variant, seconds=time.perf_counter() - start)
            if time.monotonic() > end:
                raise _unavailable(name, "no model server listens")
            await asyncio.sleep(_POLL_SECONDS)
            route = self._route(name)  # an update may have replaced its model servers

    def _record(self, name: str, outcome: _ModelResult, overhead: float) -> None:
        self._endpoints.metrics.record(
            Invocation(
                endpoint=name,
                variant=outcome.variant.name,
                instances=len(outcome.variant.instances),
                status=outcome.result.status,
                model=outcome.seconds,
                overhead=max(0.0, overhead),
            )
        )

    def _model_error(self, name: str, result: InvocationResult, headers: Mapping[str, str]) -> Response:
        """Return SageMaker's error for an answer of the model other than 200."""
        account, region = self._state.account.account, self._state.account.region
        text = result.body.decode(errors="replace")
        status = 0 if result.status == TIMED_OUT and text == TIMEOUT_TEXT else result.status
        side = "client" if 400 <= status < 500 else "server"
        group = f"/aws/sagemaker/Endpoints/{name}"
        page = f"{self._state.endpoint_url}/_clearsight/endpoints/{name}"
        message = (
            f'Received {side} error ({status}) from primary with message "{text[:_MOST_MESSAGE]}". See {page}'
            f" in account {account} for more information."
        )
        body = {
            "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if side == "client" else "INTERNAL_FAILURE_FROM_MODEL",
            "Message": message,
            "OriginalStatusCode": status,
            "OriginalMessage": text[:_MOST_MESSAGE],
            "LogStreamArn": f"arn:aws:logs:{region}:{account}:log-group:{group}",
        }
        return JSONResponse(body, _MODEL_ERROR, {**headers, "x-amzn-ErrorType": "ModelError"})

    def _accept(self, request: Request, name: str, body: bytes) -> Response:
        """Take an asynchronous request."""
        config = self._route(name).deployment.asynchronous
        if not config:
            raise _validation(f"Endpoint {name} is not an asynchronous endpoint. Create it with AsyncInferenceConfig.")
        header = _header_reader(request)
        location = header("inputlocation", "")
        if bool(location) == bool(body):
            raise _validation("A request must have either InputLocation or Body.")
        if len(body) > _MOST_ASYNC_BODY:
            raise _validation(f"The Body has {len(body)} bytes, and at most {_MOST_ASYNC_BODY} are allowed.")
        identity = str(uuid.uuid4())
        inference_id = header("inference-id", identity)
        output = config["OutputConfig"]
        default = f"s3://{self._state.account.bucket}/async-endpoint-outputs/{name}"
        topics = output.get("NotificationConfig") or {}
        seconds = _seconds(header("requestttlseconds", "21600"), "RequestTTLSeconds", 60, 21600)
        accepted = AsyncRequest(
            endpoint=name,
            inference_id=inference_id,
            input=location,
            content_type=header("content-type", "" if location else request.headers.get("content-type", "")),
            accept=header("accept", ""),
            output=_result_uri(output.get("S3OutputPath") or default, header, f"{identity}.out"),
            failure=_result_uri(output.get("S3FailurePath"), header, f"{identity}-error.out"),
            success_topic=topics.get("SuccessTopic", ""),
            error_topic=topics.get("ErrorTopic", ""),
            received=time.time(),
            expires=time.time() + seconds,
            timeout=_seconds(header("invocationtimeoutseconds", "900"), "InvocationTimeoutSeconds", 1, 3600),
        )
        self._endpoints.asynchronous.add(identity, accepted, body)
        headers = {"X-Amzn-SageMaker-OutputLocation": accepted.output}
        if accepted.failure:
            headers["X-Amzn-SageMaker-FailureLocation"] = accepted.failure
        return Response(json.dumps({"InferenceId": inference_id}), 202, headers, media_type="application/json")


def _header_reader(request: Request) -> Any:
    return lambda name, default: request.headers.get(f"{_PREFIX}{name}", default)


def _result_uri(root: str | None, header: Any, name: str) -> str:
    """Return the address of a result, "" where the configuration has no place for it."""
    if not root:
        return ""
    extension = header("s3outputpathextension", "").strip("/")
    return join_uri(root, *filter(None, [extension]), header("filename", name))


def _seconds(text: str, name: str, low: int, high: int) -> float:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise _validation(f"{name} {text[:20]!r} must be a whole number from {low} to {high}.")
    return float(text)


def _validation(text: str) -> ServiceError:
    return ServiceError("ValidationError", text)


def _unavailable(name: str, text: str) -> ServiceError:
    return ServiceError("ServiceUnavailable", f"Endpoint {name} cannot answer: {text}.", 503)
