"""The batcher runs waiting images in one batch and keeps the order of requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clearsight.serving.batcher import Batcher
from clearsight.serving.error_responses import Busy
from clearsight.serving.payload import Prepared, Probabilities


class Model:
    """Returns the first number of each image, records its batch sizes, and waits until `free` is set."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, images: Prepared) -> Probabilities:
        self.batches.append(len(images))
        assert self.free.wait(20)
        if images.max() > 900:
            raise ZeroDivisionError("broken")
        return images[:, 0, 0, :1].astype(np.float64)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def marked_images(*marks: int) -> Prepared:
    return np.stack([np.full((3, 2, 2), mark, dtype=np.float32) for mark in marks])


async def busy_model(model: Model, batcher: Batcher) -> asyncio.Task[Probabilities]:
    """Start a request that occupies the model until `model.free` is set."""
    model.free.clear()
    first = asyncio.create_task(batcher.submit(marked_images(0)))
    while not model.batches:
        await asyncio.sleep(0)
    return first


def test_an_image_runs_at_once_when_the_model_is_idle(model: Model, thread: ThreadPoolExecutor) -> None:
    rows = asyncio.run(Batcher(model, thread).submit(marked_images(7)))
    assert rows.tolist() == [[7]]
    assert model.batches == [1]


def test_waiting_images_run_in_one_batch_and_keep_their_order(model: Model, thread: ThreadPoolExecutor) -> None:
    async def scenario() -> list[Probabilities]:
        batcher = Batcher(model, thread, max_batch=4)
        first = await busy_model(model, batcher)
        rest = [asyncio.create_task(batcher.submit(marked_images(mark))) for mark in range(1, 7)]
        await asyncio.sleep(0)
        model.free.set()
        return await asyncio.gather(first, *rest)

    assert [rows.tolist() for rows in asyncio.run(scenario())] == [[[mark]] for mark in range(7)]
    assert model.batches == [1, 4, 2]


def test_a_request_larger_than_a_batch_gets_all_its_rows(model: Model, thread: ThreadPoolExecutor) -> None:
    rows = asyncio.run(Batcher(model, thread, max_batch=2).submit(marked_images(*range(5))))
    assert rows.tolist() == [[0], [1], [2], [3], [4]]
    assert model.batches == [2, 2, 1]


def test_a_full_queue_raises_busy_and_queues_nothing(model: Model, thread: ThreadPoolExecutor) -> None:
    async def scenario() -> list[Probabilities]:
        batcher = Batcher(model, thread, waiting=2)
        first = await busy_model(model, batcher)
        second = asyncio.create_task(batcher.submit(marked_images(1)))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="too many images are waiting"):
            await batcher.submit(marked_images(2, 3))
        third = asyncio.create_task(batcher.submit(marked_images(4)))
        await asyncio.sleep(0)
        model.free.set()
        return await asyncio.gather(first, second, third)

    assert [rows.tolist() for rows in asyncio.run(scenario())] == [[[0]], [[1]], [[4]]]


def test_a_failure_reaches_only_the_requests_of_its_batch(model: Model, thread: ThreadPoolExecutor) -> None:
    async def scenario() -> None:
        batcher = Batcher(model, thread)
        with pytest.raises(ZeroDivisionError):
            await batcher.submit(marked_images(999, 1))
        assert (await batcher.submit(marked_images(5))).tolist() == [[5]]

    asyncio.run(scenario())


def test_a_model_that_loses_rows_is_a_failure_and_not_a_hang(thread: ThreadPoolExecutor) -> None:
    with pytest.raises(ValueError, match="shorter"):
        asyncio.run(Batcher(lambda images: np.zeros((1, 2)), thread).submit(marked_images(1, 2)))


def test_a_cancelled_request_is_not_computed(model: Model, thread: ThreadPoolExecutor) -> None:
    async def scenario() -> None:
        batcher = Batcher(model, thread)
        first = await busy_model(model, batcher)
        cancelled = asyncio.create_task(batcher.submit(marked_images(1, 2)))
        waiting = asyncio.create_task(batcher.submit(marked_images(3)))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        model.free.set()
        assert (await waiting).tolist() == [[3]]
        await first

    asyncio.run(scenario())
    assert model.batches == [1, 1]
