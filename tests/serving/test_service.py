"""The service limits concurrent requests, checks the model and names the bad image of a list."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clearsight.core.errors import BadImage, TooLarge
from clearsight.serving.error_responses import Busy
from clearsight.serving.payload import Payload, PredictionResponse, Prepared
from clearsight.serving.predictor import DecodeCost, Predictor
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


def predicted(service: Service, images: list[bytes], limits: Limits) -> Coroutine[Any, Any, PredictionResponse]:
    return service.predict(lambda body: Payload(images, batch=True), b"", limits)


def test_images_of_too_many_pixels_together_are_refused_before_any_is_decoded(predictor: Predictor) -> None:
    decoded: list[object] = []
    counted = replace(predictor, prepare=decoded.append, measure=lambda data: DecodeCost(600, 1))
    with pytest.raises(TooLarge, match="its images have 1,200 pixels together, the limit is 1,000"):
        asyncio.run(predicted(Service(counted), [b"a", b"b"], Limits(pixels=1000)))
    assert decoded == []


def test_an_image_that_takes_more_memory_than_its_half_is_refused_before_it_is_decoded(predictor: Predictor) -> None:
    counted = replace(predictor, measure=lambda data: DecodeCost(1, (50 << 20) + 1))
    with pytest.raises(TooLarge, match="decoding takes 50 MiB, the limit is 50 MiB"):
        asyncio.run(predicted(Service(counted), [b"a"], Limits(decode_bytes=100 << 20)))


def test_a_small_request_is_answered_while_large_ones_are_decoded(predictor: Predictor, photo: bytes) -> None:
    entered, may_continue = threading.Event(), threading.Event()

    def slow(raw: Any) -> Prepared:
        if raw == b"large":
            entered.set()
            assert may_continue.wait(20)
            raw = photo
        return predictor.prepare(raw)

    def measure(data: bytes) -> DecodeCost:
        return DecodeCost(20_000_000 if data == b"large" else 1, 1)

    async def scenario() -> None:
        service = Service(replace(predictor, prepare=slow, measure=measure), decoders=1)
        large = [asyncio.create_task(predicted(service, [b"large"], Limits())) for _ in range(3)]
        await asyncio.to_thread(entered.wait, 20)
        await predicted(service, [photo], Limits())
        assert not any(task.done() for task in large)
        may_continue.set()
        await asyncio.gather(*large)

    asyncio.run(scenario())


def test_large_requests_beyond_those_that_can_wait_are_refused(predictor: Predictor, photo: bytes) -> None:
    may_continue = threading.Event()

    def slow(raw: Any) -> Prepared:
        assert may_continue.wait(20)
        return predictor.prepare(raw)

    async def scenario() -> None:
        large = replace(predictor, prepare=slow, measure=lambda data: DecodeCost(20_000_000, 1))
        service = Service(large, decoders=1)
        tasks = [asyncio.create_task(predicted(service, [photo], Limits())) for _ in range(9)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        assert [type(task.exception()) for task in done] == [Busy]
        may_continue.set()
        await asyncio.wait(tasks)
        assert sum(task.exception() is None for task in tasks) == 8

    asyncio.run(scenario())


def test_a_cancelled_request_stops_after_its_current_image(predictor: Predictor, photo: bytes) -> None:
    entered, may_continue = threading.Event(), threading.Event()
    decoded: list[object] = []

    def slow(raw: Any) -> Prepared:
        decoded.append(raw)
        entered.set()
        assert may_continue.wait(20)
        return predictor.prepare(raw)

    async def scenario() -> None:
        service = Service(replace(predictor, prepare=slow), decoders=1)
        running = asyncio.create_task(predicted(service, [photo] * 9, Limits()))
        await asyncio.to_thread(entered.wait, 20)
        queued = asyncio.create_task(predicted(service, [b"never decoded"], Limits()))
        await asyncio.sleep(0)
        for task in (running, queued):
            task.cancel()
        await asyncio.gather(running, queued, return_exceptions=True)
        may_continue.set()
        await predicted(service, [photo], Limits())

    asyncio.run(scenario())
    assert decoded == [photo, photo]  # the first of nine, and that of the last request


def test_a_request_without_a_result_in_time_is_refused(predictor: Predictor, photo: bytes) -> None:
    may_continue = threading.Event()

    def slow(raw: Any) -> Prepared:
        assert may_continue.wait(20)
        return predictor.prepare(raw)

    async def scenario() -> None:
        service = Service(replace(predictor, prepare=slow))
        with pytest.raises(Busy, match=r"no result within 0\.05 s"):
            await predicted(service, [photo], Limits(answer_seconds=0.05))
        may_continue.set()

    asyncio.run(scenario())
