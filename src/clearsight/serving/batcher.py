"""Batcher: images that wait at the same time run through the model together.

A single image is never delayed to wait for another one: a batch is what arrived while the last batch ran.

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
Waiting: TypeAlias = tuple[Prepared, asyncio.Future[Probabilities]]  # one image, and the future of its row (C,)


class Batcher:
    """Bounded queue of prepared images in front of `infer`, which runs on `thread`, one batch at a time.

    It belongs to one event loop, on which all its methods are called.
    max_batch: images per call of `infer`.  waiting: images that the queue holds at most, without the running batch.
    """

    def __init__(self, infer: Infer, thread: Executor, *, max_batch: int = 4, waiting: int = 256) -> None:
        self._infer, self._thread = infer, thread
        self._max_batch, self._waiting = max_batch, waiting
        self._queue: deque[Waiting] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, images: Prepared) -> Probabilities:
        """Return the probabilities (n, C) of `images` (n, 3, S, S), in order.

        Raises Busy, with nothing queued, when they do not fit into the queue; and the errors of `infer`.
        """
        if len(self._queue) + len(images) > self._waiting:
            raise busy()  # at once: a client that waits for a full queue would only make it longer
        loop = asyncio.get_running_loop()
        rows = [loop.create_future() for _ in images]
        self._queue.extend(zip(images, rows, strict=True))
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())  # held: the loop keeps weak references to tasks
        return np.stack(await asyncio.gather(*rows))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next():
            images, rows = zip(*batch, strict=True)
            try:
                results = await loop.run_in_executor(self._thread, self._infer, np.stack(images))
                pairs = list(zip(rows, results, strict=True))
            except Exception as error:  # every request that waits for this batch gets it
                for row in rows:
                    if not row.done():  # the client may have left meanwhile
                        row.set_exception(error)
            else:
                for row, probabilities in pairs:
                    if not row.done():
                        row.set_result(probabilities)

    def _next(self) -> list[Waiting]:
        """Take up to `max_batch` images off the queue; images of requests that were cancelled are dropped."""
        batch: list[Waiting] = []
        while self._queue and len(batch) < self._max_batch:
            image, row = self._queue.popleft()
            if not row.done():
                batch.append((image, row))
        return batch
