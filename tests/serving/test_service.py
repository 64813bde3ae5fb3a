"""The service limits concurrent requests, checks the model and names the bad image of a list."""

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
from clearsight.serving.request_body import Limits
from clearsight.serving.service import Service
from clearsight.testing.mean_colour import CLASSES, SIZE, expected


class Session:
    """A session with a fault that a test can set and remove."""

    def __init__(self) -> None:
        self.fault: Callable[[], float] = lambda: 0.0
        self.runs = 0

    def run(self, images: Prepared) -> Prepared:
        self.runs += 1
        return np.full((len(images), len(CLASSES)), self.fault(), dtype=np.float32)


def broken() -> float:
    raise ZeroDivisionError("broken")


def test_predictions_of_a_list_keep_its_order(predictor: Predictor, photos: list[bytes]) -> None:
    async def scenario() -> PredictionResponse:
        return await Service(predictor).predict(lambda body: Payload(photos, batch=True), b"", Limits(images=32))

    prediction = asyncio.run(scenario())
    assert prediction.batch
    np.testing.assert_allclose(prediction.probabilities, [expected(photo) for photo in photos], rtol=1e-4)


def test_more_images_than_allowed_are_refused(predictor: Predictor, photo: bytes) -> None:
    with pytest.raises(TooLarge, match="it holds 3 images, the limit is 2"):
        asyncio.run(Service(predictor).predict(lambda body: Payload([photo] * 3), b"", Limits(images=2)))


def test_the_bad_image_of_a_list_is_named(predictor: Predictor, photo: bytes) -> None:
    with pytest.raises(BadImage, match="image 2 of 3: it cannot be decoded"):
        asyncio.run(Service(predictor).predict(lambda body: Payload([photo, b"no", photo]), b"", Limits(images=9)))


def test_requests_beyond_the_waiting_limit_are_refused(predictor: Predictor, photo: bytes) -> None:
    entered, may_continue = threading.Event(), threading.Event()

    def slow(body: bytes) -> Payload:
        entered.set()
        assert may_continue.wait(20)
        return Payload([body])

    async def scenario() -> None:
        service = Service(predictor, waiting=1)
        first = asyncio.create_task(service.predict(slow, photo, Limits(images=1)))
        await asyncio.to_thread(entered.wait, 20)
        with pytest.raises(Busy):
            await service.predict(slow, photo, Limits(images=1))
        may_continue.set()
        await first
        await service.predict(slow, photo, Limits(images=1))

    asyncio.run(scenario())


def test_the_canary_runs_once_for_several_health_checks(predictor: Predictor) -> None:
    session = Session()

    async def scenario() -> None:
        service = Service(replace(predictor, session=session))
        assert [await service.problem() for _ in range(3)] == ["", "", ""]

    asyncio.run(scenario())
    assert session.runs == 2  # alone and in a pair


@pytest.mark.parametrize(("fault", "reason"), [(broken, "ZeroDivisionError"), (lambda: np.nan, "not finite")])
def test_the_problem_of_a_failing_model_is_reported_until_it_works_again(
    predictor: Predictor, fault: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session()
    session.fault = fault

    async def scenario() -> None:
        service = Service(replace(predictor, session=session))
        assert reason in await service.problem()
        assert reason in await service.problem()
        session.fault = lambda: 0.0
        assert await service.problem() == ""

    asyncio.run(scenario())
    assert "canary" in caplog.text


@pytest.mark.parametrize(("fault", "kind"), [(broken, ZeroDivisionError), (lambda: np.nan, FloatingPointError)])
def test_a_failure_while_serving_runs_the_canary_again(predictor: Predictor, fault: Any, kind: type[Exception]) -> None:
    session = Session()
    image = np.zeros((3, SIZE, SIZE), np.float32)

    async def scenario() -> None:
        service = Service(replace(predictor, session=session))
        assert await service.problem() == ""
        session.fault = fault
        with pytest.raises(kind):
            await service.predict(lambda body: Payload([image]), b"", Limits(images=1))
        assert await service.problem() != ""

    asyncio.run(scenario())


def test_a_model_that_hangs_is_not_ready(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    may_continue = threading.Event()
    session = Session()
    session.fault = lambda: float(not may_continue.wait(20))
    monkeypatch.setattr("clearsight.serving.service._CHECK_SECONDS", 0.05)

    async def scenario() -> None:
        service = Service(replace(predictor, session=session))
        assert "not classified its first image yet" in await service.problem()
        may_continue.set()
        monkeypatch.setattr("clearsight.serving.service._CHECK_SECONDS", 20)
        assert await service.problem() == ""

    asyncio.run(scenario())
    assert session.runs == 2  # the second health check waited for the first canary
