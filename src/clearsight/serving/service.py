"""Service: a predictor shared by concurrent requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from clearsight.core.errors import ClearsightError, TooLarge
from clearsight.serving.batcher import Batcher
from clearsight.serving.error_responses import busy
from clearsight.serving.payload import Payload, PredictionResponse, Prepared
from clearsight.serving.predictor import Predictor

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
        self._decoders = ThreadPoolExecutor(decoders, thread_name_prefix="clearsight-decode")
        # One thread: a runtime uses all its cores for one batch, and a session is not thread safe.
        self._inference = ThreadPoolExecutor(1, thread_name_prefix="clearsight-infer")
        self._batcher = Batcher(predictor.probabilities, self._inference, max_batch=max_batch, waiting=waiting)
        self._in_progress = 0
        self._healthy = False
        self._check: asyncio.Task[str] | None = None

    async def predict(self, read: Callable[[bytes], Payload], body: bytes, *, most: int) -> PredictionResponse:
        """Return the prediction for the images that `read` finds in `body`, at most `most`.

        Raises what `read` and the predictor raise for a bad body or image, TooLarge for too many images, Busy.
        """
        if self._in_progress >= self.waiting:
            raise busy()
        self._in_progress += 1
        try:
            loop = asyncio.get_running_loop()
            images, batch = await loop.run_in_executor(self._decoders, self._decode, read, body, most)
            probabilities = await self._batcher.submit(images)
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
        return PredictionResponse(classes=classes, probabilities=probabilities, batch=batch, top=self._top)

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
        self._decoders.shutdown(wait=False, cancel_futures=True)
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

    def _decode(self, read: Callable[[bytes], Payload], body: bytes, most: int) -> tuple[Prepared, bool]:
        """Return prepared images (N, 3, S, S), and True when the client sent a list; runs on a decoder thread."""
        payload = read(body)
        count = len(payload.images)
        if count > most:
            raise TooLarge("body", f"it holds {count} images, the limit is {most}", fix="Send fewer at a time.")
        images = []
        for number, image in enumerate(payload.images, start=1):
            try:
                images.append(self.predictor.prepared(image))
            except ClearsightError as error:
                if count == 1:
                    raise
                place = f"image {number} of {count}"
                raise type(error)(place, error.problem, got=error.got, allowed=error.allowed, fix=error.fix) from error
        return np.stack(images), payload.batch
