"""Service: a predictor shared by concurrent requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from clearsight.core.errors import ClearsightError, TooLarge
from clearsight.serving.batcher import Batcher
from clearsight.serving.codecs import ACCEPTS, CODECS
from clearsight.serving.decoding import DecodePool, Stopped
from clearsight.serving.error_responses import Busy, busy
from clearsight.serving.negotiation import request_type, response_type
from clearsight.serving.payload import Image, Payload, PredictionResponse, Prepared
from clearsight.serving.predictor import Predictor
from clearsight.serving.request_body import Limits
from clearsight.serving.served_model import ModelDescription, ModelRequest, ModelResponse

T = TypeVar("T")

LOG = logging.getLogger("clearsight.serving")

_CHECK_SECONDS = 5.0  # that a health check waits for the test image before it reports "not yet"


class Service:
    """Decodes on `decoders` threads, infers on one, and raises Busy beyond `waiting`. For one event loop.

    waiting: limit on requests in progress, and on images queued for the model.
    top: classes listed in the ranking of a response.
    """

    def __init__(
        self, predictor: Predictor, *, decoders: int = 2, max_batch: int = 4, waiting: int = 256, top: int = 5
    ) -> None:
        self.predictor, self.waiting, self._top = predictor, waiting, top
        self._decoders = DecodePool(decoders)
        # One thread: a runtime uses all its cores for one batch, and a session is not thread safe.
        self._inference = ThreadPoolExecutor(1, thread_name_prefix="clearsight-infer")
        self._batcher = Batcher(predictor.probabilities, self._inference, max_batch=max_batch, waiting=waiting)
        # Looked up once, not per request.
        self._readers, self._writers = dict(iter(CODECS)), dict(iter(ACCEPTS))
        self._in_progress = 0
        self._healthy = False
        self._check: asyncio.Task[str] | None = None

    @property
    def description(self) -> ModelDescription:
        """Return what the endpoint says of the model."""
        bundle = self.predictor.bundle
        return ModelDescription(
            model=bundle.model,
            classes=bundle.classes,
            image_size=bundle.preprocess.size,
            reads=tuple(self._readers),
            writes=tuple(self._writers),
        )

    @property
    def most_images(self) -> int:
        """Return how many images of one request can wait together."""
        return self.waiting

    async def respond(self, request: ModelRequest, limits: Limits) -> ModelResponse:
        """Return probabilities for the images in a request, in the media type that its client accepts.

        Raises what `predict` raises, UnsupportedType for a body of another type, NotAcceptable.
        """
        accepted = response_type(request.accept, self._writers)
        read = self._readers[request_type(request.content_type, request.body, self._readers)]
        prediction = await self.predict(read, request.body, limits)
        rows = prediction.probabilities
        return ModelResponse(
            body=self._writers[accepted](prediction),
            media_type=accepted,
            classes=tuple(rows.argmax(1).tolist()),
            confidences=tuple(rows.max(1).tolist()),
        )

    async def predict(self, read: Callable[[bytes], Payload], body: bytes, limits: Limits) -> PredictionResponse:
        """Return the prediction for the images that `read` finds in `body`; work on it ends when the call is cancelled.

        Raises what `read` and the predictor raise for a bad body or image, TooLarge for images beyond `limits`, and
        Busy for a full queue or no result in time.
        """
        if self._in_progress >= self.waiting:
            raise busy()
        self._in_progress += 1
        try:
            async with asyncio.timeout(limits.answer_seconds):
                payload, large = await self._decoders.run(lambda stopped: self._read(read, body, limits))
                images = await self._decoders.run(lambda stopped: self._decode(payload, stopped), large=large)
                probabilities = await self._batcher.submit(images)
        except TimeoutError:
            raise Busy(
                "endpoint", f"it had no result within {limits.answer_seconds:g} s", fix="Try again later."
            ) from None
        except (ClearsightError, asyncio.CancelledError):  # by the client: says nothing about the model
            raise
        except BaseException:
            self._healthy = False  # the next health check tries the test image again
            raise
        finally:
            self._in_progress -= 1
        if not np.isfinite(probabilities).all():
            self._healthy = False
            raise FloatingPointError("the model gave numbers that are not finite")
        classes = self.predictor.bundle.classes
        return PredictionResponse(classes=classes, probabilities=probabilities, batch=payload.batch, top=self._top)

    async def problem(self) -> str:
        """Return why the service cannot answer; "" once a test image was classified and nothing has failed since."""
        if self._healthy:
            return ""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._check_canary())
        # `wait` does not cancel: the next health check finds it done.
        await asyncio.wait({self._check}, timeout=_CHECK_SECONDS)
        return self._check.result() if self._check.done() else "The model has not classified its first image yet."

    def close(self) -> None:
        """Stop the threads once they have finished their current work."""
        self._decoders.close()
        self._inference.shutdown(wait=False, cancel_futures=True)

    async def _check_canary(self) -> str:
        try:
            await asyncio.get_running_loop().run_in_executor(self._inference, self.predictor.canary)
        except Exception as error:  # a runtime may raise anything; the health check reports it
            LOG.exception("the test image was not classified")
            # Its own text may name files.
            return str(error) if isinstance(error, ClearsightError) else f"The model fails ({type(error).__name__})."
        self._healthy = True
        return ""

    def _read(self, read: Callable[[bytes], Payload], body: bytes, limits: Limits) -> tuple[Payload, bool]:
        """Return the images, and True where decoding them takes long; nothing is decoded yet. On a decoder thread."""
        payload = read(body)
        count = len(payload.images)
        if count > limits.images:
            problem = f"it holds {count} images, the limit is {limits.images}"
            raise TooLarge("body", problem, fix="Send fewer at a time.")
        costs = [self._of_one(self.predictor.cost, number, payload) for number in range(1, count + 1)]
        pixels, memory = sum(cost.pixels for cost in costs), max((cost.memory for cost in costs), default=0)
        if pixels > limits.pixels:
            problem = f"its images have {pixels:,} pixels together, the limit is {limits.pixels:,}"
            raise TooLarge("body", problem, fix="Send fewer or smaller images at a time.")
        if memory > limits.decode_bytes // 2:
            problem = f"decoding takes {memory >> 20} MiB, the limit is {limits.decode_bytes >> 21} MiB"
            raise TooLarge("image", problem, fix="Send a smaller image, or one with 8 bits per channel.")
        return payload, self._decoders.is_large(pixels, memory, limits.decode_bytes)

    def _decode(self, payload: Payload, stopped: Stopped) -> Prepared:
        """Return prepared images (N, 3, S, S); runs on a decoder thread, to the end of an image after `stopped`."""
        images = []
        for number in range(1, len(payload.images) + 1):
            if stopped():
                raise asyncio.CancelledError
            images.append(self._of_one(self.predictor.prepared, number, payload))
        return np.stack(images)

    @staticmethod
    def _of_one(function: Callable[[Image], T], number: int, payload: Payload) -> T:
        """Return the function of the image `number`, counted from 1; its error names the image."""
        try:
            return function(payload.images[number - 1])
        except ClearsightError as error:
            if len(payload.images) == 1:
                raise
            place = f"image {number} of {len(payload.images)}"
            raise type(error)(place, error.problem, got=error.got, allowed=error.allowed, fix=error.fix) from error
