"""HostedEndpoints: all that the service has of endpoints beside their rows: routes, controller, records."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from clearsight_sagemaker.endpoints.async_invocations import AsyncInvocations, Notify
from clearsight_sagemaker.endpoints.captured_requests import CapturedRequests
from clearsight_sagemaker.endpoints.controller import EndpointController, EndpointSettings
from clearsight_sagemaker.endpoints.endpoint_metrics import EndpointMetrics
from clearsight_sagemaker.endpoints.routes import EndpointRoutes
from clearsight_sagemaker.state.home import ServiceHome
from clearsight_sagemaker.state.resource_table import ResourceTable
from clearsight_sagemaker.training.objects import Objects

LOG = logging.getLogger("clearsight.sagemaker")

_CAPTURE_SECONDS = 2.0  # between writings of captured requests
_METRIC_SECONDS = 20.0  # between writings of metrics; whoever reads them has them written first
_SCALE_SECONDS = 5.0


@dataclass(slots=True)
class HostedEndpoints:
    """Endpoints of a service. `start` once, before requests come; `close` at the end."""

    table: ResourceTable
    home: ServiceHome
    objects: Objects
    file_lock: threading.Lock
    routes: EndpointRoutes = field(default_factory=EndpointRoutes)
    metrics: EndpointMetrics = field(init=False)
    captured: CapturedRequests = field(init=False)
    asynchronous: AsyncInvocations = field(init=False)
    _controller: EndpointController | None = None
    _scale: Callable[[], None] = lambda: None
    _next_capture: float = 0.0
    _next_metrics: float = 0.0
    _next_scale: float = 0.0

    def __post_init__(self) -> None:
        self.metrics = EndpointMetrics(self.home.metrics, self.file_lock)
        self.captured = CapturedRequests(self.objects)
        folder = self.home.endpoints / ".async"  # no endpoint has this name
        self.asynchronous = AsyncInvocations(self.table, self.routes, self.objects, self.metrics, folder)

    def start(self, settings: EndpointSettings, notify: Notify, scale: Callable[[], None]) -> None:
        """Follow the table. notify: sends a notification.  scale: changes numbers of instances by scaling policies."""
        self._scale = scale
        self._controller = EndpointController(self.table, self.home, self.routes, settings, self._each_round)
        self._controller.start()
        self.asynchronous.notify = notify
        self.asynchronous.start()

    def close(self) -> None:
        """Write what is in memory; model servers go on."""
        if self._controller is not None:
            self._controller.close()
        self.asynchronous.close()
        try:
            self.flush()
        except OSError as error:
            LOG.error("metrics of endpoints: %s", error)
        self.objects.close()

    def wake(self) -> None:
        """Do at once what rows want."""
        if self._controller is not None:
            self._controller.wake()

    def flush(self) -> None:
        """Write metrics and captured requests now. Raises OSError."""
        self.metrics.flush()
        self.captured.flush()

    def _each_round(self) -> None:
        now = time.monotonic()
        if now >= self._next_capture:
            self._next_capture = now + _CAPTURE_SECONDS
            self.captured.flush()
        if now >= self._next_metrics:
            self._next_metrics = now + _METRIC_SECONDS
            self.metrics.flush()
        if now >= self._next_scale:
            self._next_scale = now + _SCALE_SECONDS
            self._scale()
