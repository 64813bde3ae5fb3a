"""The batcher."""

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
    """Answers each image with its first number; remembers the sizes of its batches, and waits while it is held."""

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


async def occupied(model: Model, batcher: Batcher) -> asyncio.Task[Probabilities]:
    """A request that keeps the model busy until `model.free` is set."""
    model.free.clear()
    first = asyncio.create_task(batcher.submit(marked_images(0)))
    while not model.batches:
        await asyncio.sleep(0)
    return first


def test_a_lone_image_runs_at_once_and_alone(model: Model, thread: ThreadPoolExecutor) -> None:
    rows = asyncio.run(Batcher(model, thread).submit(marked_images(7)))
    assert rows.tolist() == [[7]]
    assert model.batches == [1]


def test_what_piles_up_runs_together_and_keeps_its_order(model: Model, thread: ThreadPoolExecutor) -> None:
    async def story() -> list[Probabilities]:
        batcher = Batcher(model, thread, max_batch=4)
        first = await occupied(model, batcher)
        rest = [asyncio.create_task(batcher.submit(marked_images(mark))) for mark in range(1, 7)]
        await asyncio.sleep(0)
        model.free.set()
        return await asyncio.gather(first, *rest)

    assert [rows.tolist() for rows in asyncio.run(story())] == [[[mark]] for mark in range(7)]
    assert model.batches == [1, 4, 2]


def test_a_request_larger_than_a_batch_is_answered_whole(model: Model, thread: ThreadPoolExecutor) -> None:
    rows = asyncio.run(Batcher(model, thread, max_batch=2).submit(marked_images(*range(5))))
    assert rows.tolist() == [[0], [1], [2], [3], [4]]
    assert model.batches == [2, 2, 1]


def test_a_full_queue_refuses_and_queues_nothing(model: Model, thread: ThreadPoolExecutor) -> None:
    async def story() -> list[Probabilities]:
        batcher = Batcher(model, thread, waiting=2)
        first = await occupied(model, batcher)
        second = asyncio.create_task(batcher.submit(marked_images(1)))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="too many images are waiting"):
            await batcher.submit(marked_images(2, 3))
        third = asyncio.create_task(batcher.submit(marked_images(4)))
        await asyncio.sleep(0)
        model.free.set()
        return await asyncio.gather(first, second, third)

    assert [rows.tolist() for rows in asyncio.run(story())] == [[[0]], [[1]], [[4]]]


def test_a_failure_reaches_those_who_wait_for_it_and_no_one_else(model: Model, thread: ThreadPoolExecutor) -> None:
    async def story() -> None:
        batcher = Batcher(model, thread)
        with pytest.raises(ZeroDivisionError):
            await batcher.submit(marked_images(999, 1))
        assert (await batcher.submit(marked_images(5))).tolist() == [[5]]

    asyncio.run(story())


def test_a_model_that_loses_rows_is_a_failure_and_not_a_hang(thread: ThreadPoolExecutor) -> None:
    with pytest.raises(ValueError, match="shorter"):
        asyncio.run(Batcher(lambda images: np.zeros((1, 2)), thread).submit(marked_images(1, 2)))


def test_a_client_that_left_is_not_computed_for(model: Model, thread: ThreadPoolExecutor) -> None:
    async def story() -> None:
        batcher = Batcher(model, thread)
        first = await occupied(model, batcher)
        gone = asyncio.create_task(batcher.submit(marked_images(1, 2)))
        stays = asyncio.create_task(batcher.submit(marked_images(3)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        model.free.set()
        assert (await stays).tolist() == [[3]]
        await first

    asyncio.run(story())
    assert model.batches == [1, 1]
