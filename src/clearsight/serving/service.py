"""Service: a predictor that many requests may use at once."""

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

_PATIENCE = 5.0  # seconds that a health check waits for the canary before it answers "not yet"


class Service:
    """Decodes on `decoders` threads, infers on one, refuses with Busy what exceeds `waiting`. For one event loop.

    waiting: requests being decoded or answered, and images in the queue before the model.
    top: classes listed in the ranking of an answer.
    """

    def __init__(
        self, predictor: Predictor, *, decoders: int = 2, max_batch: int = 4, waiting: int = 256, top: int = 5
    ) -> None:
        self.predictor, self.waiting, self._top = predictor, waiting, top
        self._decoders = ThreadPoolExecutor(decoders, thread_name_prefix="clearsight-decode")
        self._inference = ThreadPoolExecutor(1, thread_name_prefix="clearsight-infer")
        self._batcher = Batcher(predictor.probabilities, self._inference, max_batch=max_batch, waiting=waiting)
        self._under_way = 0
        self._healthy = False
        self._check: asyncio.Task[str] | None = None

    async def answer(self, read: Callable[[bytes], Payload], body: bytes, *, most: int) -> PredictionResponse:
        """The answer to the at most `most` images that `read` finds in `body`.

        Raises what `read` and the predictor raise for a bad body or image, TooLarge for too many images, Busy.
        """
        if self._under_way >= self.waiting:
            raise busy()
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            images, batch = await loop.run_in_executor(self._decoders, self._decode, read, body, most)
            probabilities = await self._batcher.submit(images)
        except ClearsightError:
            raise
        except Exception:
            self._healthy = False  # the next health check asks the canary again
            raise
        finally:
            self._under_way -= 1
        if not np.isfinite(probabilities).all():
            self._healthy = False
            raise FloatingPointError("the model answered with numbers that are not finite")
        return PredictionResponse(
            classes=self.predictor.bundle.classes, probabilities=probabilities, batch=batch, top=self._top
        )

    async def trouble(self) -> str:
        """Why the service cannot answer, or "" when the canary has answered (and nothing has failed since)."""
        if self._healthy:
            return ""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._ask_canary())
        await asyncio.wait({self._check}, timeout=_PATIENCE)
        return self._check.result() if self._check.done() else "The model has not answered its first image yet."

    def close(self) -> None:
        """Stop the threads once they have finished what they are doing."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._inference.shutdown(wait=False, cancel_futures=True)

    async def _ask_canary(self) -> str:
        try:
            await asyncio.get_running_loop().run_in_executor(self._inference, self.predictor.canary)
        except Exception as error:
            LOG.exception("the canary got no good answer")
            return str(error) if isinstance(error, ClearsightError) else f"The model fails ({type(error).__name__})."
        self._healthy = True
        return ""

    def _decode(self, read: Callable[[bytes], Payload], body: bytes, most: int) -> tuple[Prepared, bool]:
        """Prepared images (N, 3, S, S), and whether the client sent a list; runs on a decoder thread."""
        payload = read(body)
        count = len(payload.images)
        if count > most:
            raise TooLarge("body", f"it holds {count} images, the limit is {most}", fix="Send fewer at a time.")
        images = []
        for place, image in enumerate(payload.images, start=1):
            try:
                images.append(self.predictor.prepared(image))
            except ClearsightError as error:
                if count == 1:
                    raise
                where = f"image {place} of {count}"
                raise type(error)(where, error.problem, got=error.got, allowed=error.allowed, fix=error.fix) from error
        return np.stack(images), payload.batch
