"""The service: admission, health, and errors that name their image."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clearsight.core.errors import BadImage, TooLarge
from clearsight.serving.error_responses import Busy
from clearsight.serving.payload import Payload, PredictionResponse, Prepared
from clearsight.serving.predictor import Predictor
from clearsight.serving.service import Service
from clearsight.testing.mean_colour import CLASSES, SIZE, expected


class Session:
    """A session that can be broken and mended."""

    def __init__(self) -> None:
        self.fault: Callable[[], float] = lambda: 0.0
        self.runs = 0

    def run(self, images: Prepared) -> Prepared:
        self.runs += 1
        return np.full((len(images), len(CLASSES)), self.fault(), dtype=np.float32)


def broken() -> float:
    raise ZeroDivisionError("broken")


def test_answers_for_a_list_in_its_order(predictor: Predictor, photos: list[bytes]) -> None:
    async def story() -> PredictionResponse:
        return await Service(predictor).answer(lambda body: Payload(photos, batch=True), b"", most=32)

    answer = asyncio.run(story())
    assert answer.batch
    np.testing.assert_allclose(answer.probabilities, [expected(photo) for photo in photos], rtol=1e-4)


def test_more_images_than_allowed_are_refused(predictor: Predictor, photo: bytes) -> None:
    with pytest.raises(TooLarge, match="it holds 3 images, the limit is 2"):
        asyncio.run(Service(predictor).answer(lambda body: Payload([photo] * 3), b"", most=2))


def test_the_bad_image_of_a_list_is_named(predictor: Predictor, photo: bytes) -> None:
    with pytest.raises(BadImage, match="image 2 of 3: it cannot be decoded"):
        asyncio.run(Service(predictor).answer(lambda body: Payload([photo, b"no", photo]), b"", most=9))


def test_requests_beyond_what_may_wait_are_refused(predictor: Predictor, photo: bytes) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(body: bytes) -> Payload:
        entered.set()
        assert leave.wait(20)
        return Payload([body])

    async def story() -> None:
        service = Service(predictor, waiting=1)
        first = asyncio.create_task(service.answer(slow, photo, most=1))
        await asyncio.to_thread(entered.wait, 20)
        with pytest.raises(Busy):
            await service.answer(slow, photo, most=1)
        leave.set()
        await first
        await service.answer(slow, photo, most=1)

    asyncio.run(story())


def test_health_is_asked_of_the_canary_once(predictor: Predictor) -> None:
    session = Session()

    async def story() -> None:
        service = Service(replace(predictor, session=session))
        assert [await service.trouble() for _ in range(3)] == ["", "", ""]

    asyncio.run(story())
    assert session.runs == 2  # alone and in a pair


@pytest.mark.parametrize(("fault", "reason"), [(broken, "ZeroDivisionError"), (lambda: np.nan, "not finite")])
def test_a_sick_model_says_why_until_it_is_well(
    predictor: Predictor, fault: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session()
    session.fault = fault

    async def story() -> None:
        service = Service(replace(predictor, session=session))
        assert reason in await service.trouble()
        assert reason in await service.trouble()
        session.fault = lambda: 0.0
        assert await service.trouble() == ""

    asyncio.run(story())
    assert "canary" in caplog.text


@pytest.mark.parametrize(("fault", "kind"), [(broken, ZeroDivisionError), (lambda: np.nan, FloatingPointError)])
def test_a_failure_while_serving_sends_the_canary_out_again(
    predictor: Predictor, fault: Any, kind: type[Exception]
) -> None:
    session = Session()
    image = np.zeros((3, SIZE, SIZE), np.float32)

    async def story() -> None:
        service = Service(replace(predictor, session=session))
        assert await service.trouble() == ""
        session.fault = fault
        with pytest.raises(kind):
            await service.answer(lambda body: Payload([image]), b"", most=1)
        assert await service.trouble() != ""

    asyncio.run(story())


def test_a_model_that_hangs_is_not_ready(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    leave = threading.Event()
    session = Session()
    session.fault = lambda: float(not leave.wait(20))
    monkeypatch.setattr("clearsight.serving.service._PATIENCE", 0.05)

    async def story() -> None:
        service = Service(replace(predictor, session=session))
        assert "not answered its first image yet" in await service.trouble()
        leave.set()
        monkeypatch.setattr("clearsight.serving.service._PATIENCE", 20)
        assert await service.trouble() == ""

    asyncio.run(story())
    assert session.runs == 2  # the second question waited for the first canary
