"""Batcher: images that wait at the same time run through the model together.

A lone image is never held back to see whether another comes: a batch is whatever piled up while the last one ran.

Batches are small by default: on two CPU cores a batch of 4 costs 0.55 to 1.0 of four single runs (mobilenet_v2 at
224 pixels, onnxruntime 1.31 and OpenVINO 2026.4), and from 8 on the activations no longer fit the cache.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeAlias

import numpy as np

from clearsight.serving.error_responses import busy
from clearsight.serving.payload import Prepared, Probabilities

Infer: TypeAlias = Callable[[Prepared], Probabilities]  # (n, 3, S, S) to (n, C)
Waiting: TypeAlias = tuple[Prepared, asyncio.Future[Probabilities]]  # one image, and its row (C,) to come


class Batcher:
    """A bounded queue of prepared images in front of `infer`, which runs on `thread`, one batch at a time.

    Belongs to one event loop; all its methods are called there.
    max_batch: images per call of `infer`.  waiting: images that may be in the queue, the running batch aside.
    """

    def __init__(self, infer: Infer, thread: Executor, *, max_batch: int = 4, waiting: int = 256) -> None:
        self._infer, self._thread = infer, thread
        self._max_batch, self._most = max_batch, waiting
        self._queue: deque[Waiting] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, images: Prepared) -> Probabilities:
        """Probabilities (n, C) of `images` (n, 3, S, S), in order, once their turn has come.

        Raises Busy, and then queues nothing, when they do not fit into the queue; whatever `infer` raises.
        """
        if len(self._queue) + len(images) > self._most:
            raise busy()
        loop = asyncio.get_running_loop()
        rows = [loop.create_future() for _ in images]
        self._queue.extend(zip(images, rows, strict=True))
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        return np.stack(await asyncio.gather(*rows))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next():
            images, rows = zip(*batch, strict=True)
            try:
                answers = await loop.run_in_executor(self._thread, self._infer, np.stack(images))
                settled = list(zip(rows, answers, strict=True))
            except Exception as error:  # belongs to everyone who waits for this batch
                for row in rows:
                    if not row.done():
                        row.set_exception(error)
            else:
                for row, answer in settled:
                    if not row.done():
                        row.set_result(answer)

    def _next(self) -> list[Waiting]:
        """Up to `max_batch` images from the head of the queue; those nobody waits for any more are dropped."""
        batch: list[Waiting] = []
        while self._queue and len(batch) < self._max_batch:
            image, row = self._queue.popleft()
            if not row.done():
                batch.append((image, row))
        return batch
