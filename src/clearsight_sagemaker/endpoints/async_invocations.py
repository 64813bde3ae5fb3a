"""AsyncInvocations: requests of InvokeEndpointAsync, each a row of the table until its result is an object.

A request whose service is killed runs again when the service is back: its result may be written twice, and is never
lost.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from clearsight_sagemaker.endpoints.endpoint_metrics import EndpointMetrics, Invocation
from clearsight_sagemaker.endpoints.instance import InstanceRequest, InstanceUnavailable
from clearsight_sagemaker.endpoints.routes import EndpointRoute, EndpointRoutes
from clearsight_sagemaker.hosting.worker import InvocationResult
from clearsight_sagemaker.state.resource_table import Resource, ResourceTable
from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.objects import STORE_ERRORS, Objects

LOG = logging.getLogger("clearsight.sagemaker")

_KIND = "async-invocation"
_THREADS = 8
_RETRY_SECONDS = 0.5
_GRACE_SECONDS = 5.0  # beyond the time that the model has

# Takes topic, subject and message of a notification.
Notify = Callable[[str, str, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class AsyncRequest:
    """A request. input: s3:// address, "" for a body in `folder`/NAME.  output, failure: addresses of its result.

    failure: "" for none.  success_topic, error_topic: ARNs, "" for none.  received, expires: seconds since 1970.
    timeout: seconds that the model has.
    """

    endpoint: str
    inference_id: str
    input: str
    content_type: str
    accept: str
    output: str
    failure: str = ""
    success_topic: str = ""
    error_topic: str = ""
    received: float = 0.0
    expires: float = 0.0
    timeout: float = 900.0


@dataclass(slots=True)
class AsyncInvocations:
    """Threads that run requests. folder: for bodies that came with a request."""

    table: ResourceTable
    routes: EndpointRoutes
    objects: Objects
    metrics: EndpointMetrics
    folder: Path
    notify: Notify = lambda topic, subject, message: None
    _queue: queue.SimpleQueue[tuple[str, AsyncRequest] | None] = field(default_factory=queue.SimpleQueue)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Run the requests that an earlier service has left."""
        for row in self.table.every(_KIND):
            self._queue.put((row.name, AsyncRequest(**row.document)))
        for _ in range(_THREADS):
            # Daemons: a request may take an hour, and the service does not wait for it. It runs again.
            threading.Thread(target=self._run_all, name="async invocation", daemon=True).start()

    def close(self) -> None:
        """Start no more; those that wait or run have their results by the next service."""
        self._stopped.set()
        for _ in range(_THREADS):
            self._queue.put(None)

    def add(self, name: str, request: AsyncRequest, body: bytes) -> None:
        """Accept a request: from now on it is not lost. body: where there is no input."""
        if not request.input:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(body)
        self.table.add(Resource(kind=_KIND, name=name, status="Waiting", document=asdict(request)))
        self._queue.put((name, request))

    def waiting(self, endpoint: str) -> int:
        """Return how many requests of an endpoint have no result yet."""
        return sum(row.document["endpoint"] == endpoint for row in self.table.every(_KIND))

    # The threads

    def _run_all(self) -> None:
        while (item := self._queue.get()) is not None and not self._stopped.is_set():
            self._run(*item)

    def _run(self, name: str, request: AsyncRequest) -> None:
        try:
            result = self._result(name, request)
            if result is None or self._stopped.is_set():
                return
            self._write(request, result)
            self.table.remove(_KIND, name)
            (self.folder / name).unlink(missing_ok=True)
        except (*STORE_ERRORS, SQLAlchemyError, JobFailed) as error:  # it runs again with the next service
            LOG.error("asynchronous invocation %s of %s: %s", name, request.endpoint, error)

    def _result(self, name: str, request: AsyncRequest) -> InvocationResult | None:
        """Return the result of a request, with a sentence as the body of an error; None where the service ends."""
        try:
            body, request = self._body(name, request), self._with_content_type(request)
        except (*STORE_ERRORS, JobFailed) as error:
            return _failed(f"ClientError: the input {request.input} cannot be read: {error}")
        while not self._stopped.is_set():
            if time.time() > request.expires:
                return _failed("ClientError: the request waited longer than RequestTTLSeconds.")
            route = self.routes.get(request.endpoint)
            if route is None:
                return _failed(f"ClientError: Endpoint {request.endpoint} not found.")
            result = self._invoke(route, request, body)
            if result is not None:
                return result
            self._stopped.wait(_RETRY_SECONDS)
        return None

    def _body(self, name: str, request: AsyncRequest) -> bytes:
        if not request.input:
            return (self.folder / name).read_bytes()
        with self.objects.opened(request.input) as (_, file):
            return file.read()

    def _with_content_type(self, request: AsyncRequest) -> AsyncRequest:
        """Return a request with a content type: its own, or that of the object.

        The SDK's AsyncPredictor sends none, and stores its inputs with that of its serializer.
        """
        if request.content_type or not request.input:
            return request
        return replace(request, content_type=self.objects.content_type(request.input))

    def _invoke(self, route: EndpointRoute, request: AsyncRequest, body: bytes) -> InvocationResult | None:
        """Return the result of a model server; None where none listens now."""
        variant = route.variant("")
        instance = variant.instance() if variant is not None else None
        if variant is None or instance is None:
            return None
        sent = InstanceRequest(
            body=body, content_type=request.content_type, accept=request.accept, timeout=request.timeout
        )
        start = time.perf_counter()
        try:
            with instance.reserved():
                result = instance.invoke_blocking(sent, request.timeout + _GRACE_SECONDS)
        except TimeoutError:
            result = _failed("ModelError: the model did not answer in time.")
        except InstanceUnavailable:
            return None
        self.metrics.record(
            Invocation(
                endpoint=request.endpoint,
                variant=variant.name,
                instances=len(variant.instances),
                status=result.status,
                model=time.perf_counter() - start,
                overhead=max(0.0, time.time() - request.received - (time.perf_counter() - start)),
            )
        )
        return result

    def _write(self, request: AsyncRequest, result: InvocationResult) -> None:
        """Write the object of a result, and send its notification."""
        is_good = result.status == 200
        address = request.output if is_good else request.failure
        if address:
            # By the type of the object the SDK's deserializers know what they read.
            with self.objects.writing(address, result.content_type if is_good else "") as file:
                file.write(result.body)
        topic = request.success_topic if is_good else request.error_topic
        if topic:
            message = json.dumps(_message(request, result))
            self.notify(topic, "Amazon SageMaker Asynchronous Inference", message)


def _failed(text: str) -> InvocationResult:
    return InvocationResult(500, text.encode(), "text/plain")


def _message(request: AsyncRequest, result: InvocationResult) -> Mapping[str, Any]:
    parameters = {"contentType": request.content_type, "endpointName": request.endpoint, "inputLocation": request.input}
    common = {
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
        "eventTime": _moment(time.time()),
        "receivedTime": _moment(request.received),
        "inferenceId": request.inference_id,
        "requestParameters": {**parameters, "accept": request.accept} if request.accept else parameters,
    }
    if result.status == 200:
        response = {"contentType": result.content_type, "outputLocation": request.output}
        return {**common, "invocationStatus": "Completed", "responseParameters": response}
    failed = {"invocationStatus": "Failed", "failureReason": result.body.decode(errors="replace")[:1024]}
    return {**common, **failed, **({"failureLocation": request.failure} if request.failure else {})}


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
