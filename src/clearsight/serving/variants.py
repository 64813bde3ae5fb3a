"""Variants: several models behind one endpoint, each with a share of the requests; shadows get copies of them."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clearsight.core.errors import BadChoice, BadValue, ClearsightError
from clearsight.serving.error_responses import status_of
from clearsight.serving.metrics import WorkerCounters
from clearsight.serving.request_body import Limits
from clearsight.serving.served_model import ModelDescription, ModelRequest, ModelResponse, ServedModel

LOG = logging.getLogger("clearsight.serving")

# Headers of SageMaker's runtime: the variant that a client asks for, and the one that has answered.
VARIANT_WANTED, VARIANT_INVOKED = "x-amzn-sagemaker-target-variant", "x-amzn-invoked-production-variant"
_COPIES = 8  # requests that wait for shadows at a time; each holds its body


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model of an endpoint. share: of the requests, above 0; a shadow has none, and its responses are not sent."""

    name: str
    model: ServedModel
    counters: WorkerCounters
    share: float = 0.0

    @property
    def is_shadow(self) -> bool:
        """Return True for a model that gets copies of the requests alone."""
        return not self.share


class Variants:
    """Serves each request by one variant, drawn by their shares, and shows it to the shadows as well.

    A shadow never delays a response: with too many copies waiting it gets none of the next one. Its predictions are
    compared with those that were sent.  draws: source of the draws.
    """

    def __init__(self, variants: Sequence[Variant], draws: random.Random | None = None) -> None:
        self._production = [variant for variant in variants if not variant.is_shadow]
        self._shadows = [variant for variant in variants if variant.is_shadow]
        if not self._production:
            raise BadValue("variants", "one must have a share of the requests")
        self._shares = [variant.share for variant in self._production]
        self._draws = draws or random.Random()
        self._copies: set[asyncio.Task[None]] = set()

    @property
    def description(self) -> ModelDescription:
        """Return that of the first variant."""
        return self._production[0].model.description

    @property
    def most_images(self) -> int | None:
        """Return how many images of one request can wait together in each variant."""
        most = [count for variant in self._production if (count := variant.model.most_images) is not None]
        return min(most, default=None)

    async def respond(self, request: ModelRequest, limits: Limits) -> ModelResponse:
        """Return the response of one variant; raises BadChoice for a variant that is not there."""
        variant = self._chosen(request.variant)
        response = await _counted(variant, request, limits)
        self._copy(request, response, limits)
        return replace(response, headers={**response.headers, VARIANT_INVOKED: variant.name})

    async def problem(self) -> str:
        """Return why a variant that has a share cannot answer."""
        for variant in self._production:
            if problem := await variant.model.problem():
                return f"variant {variant.name}: {problem}" if len(self._production) > 1 else problem
        return ""

    def close(self) -> None:
        """Close all models."""
        for copy in self._copies:
            copy.cancel()
        for variant in (*self._production, *self._shadows):
            variant.model.close()

    def _chosen(self, name: str) -> Variant:
        if not name:
            return self._draws.choices(self._production, self._shares)[0]
        found = next((variant for variant in self._production if variant.name == name), None)
        if found is None:
            allowed = [variant.name for variant in self._production]
            raise BadChoice(f"variant {name[:60]!r}", "the endpoint has none of this name", got=name, allowed=allowed)
        return found

    def _copy(self, request: ModelRequest, response: ModelResponse, limits: Limits) -> None:
        for shadow in self._shadows:
            if len(self._copies) >= _COPIES:
                return
            copy = asyncio.create_task(_compare(shadow, request, response, limits))
            self._copies.add(copy)
            copy.add_done_callback(self._finished)

    def _finished(self, copy: asyncio.Task[None]) -> None:
        self._copies.discard(copy)
        if not copy.cancelled() and (error := copy.exception()) is not None:
            LOG.error("a shadow failed", exc_info=error)


async def _counted(variant: Variant, request: ModelRequest, limits: Limits) -> ModelResponse:
    """Return the response of a variant, with its status, time and predictions counted."""
    start, status = time.perf_counter(), 500
    variant.counters.begin()
    try:
        response = await variant.model.respond(request, limits)
        status = response.status
        variant.counters.predicted(response.classes, response.confidences)
        return response
    except ClearsightError as error:
        status = status_of(error)
        raise
    except asyncio.CancelledError:
        status = 0  # the client left before a response
        raise
    finally:
        variant.counters.end(status, time.perf_counter() - start)


async def _compare(shadow: Variant, request: ModelRequest, response: ModelResponse, limits: Limits) -> None:
    try:
        copied = await _counted(shadow, replace(request, variant=""), limits)
    except ClearsightError:
        return  # counted by its status
    pairs = list(zip(response.classes, copied.classes, strict=False))
    shadow.counters.compared(len(pairs), sum(given == other for given, other in pairs))
