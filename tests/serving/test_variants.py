"""Variants share the requests, can be asked for by name, and shadows change no response."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from clearsight.core.errors import BadChoice, BadValue
from clearsight.serving.app import build_app
from clearsight.serving.metrics import WorkerCounters, totals
from clearsight.serving.request_body import Limits
from clearsight.serving.served_model import ModelRequest
from clearsight.serving.variants import Variant, Variants
from tests.serving.fixed_model import FixedModel

LIMITS = Limits()


def variant(folder: Path, model: FixedModel, share: float) -> Variant:
    return Variant(name=model.name, model=model, share=share, counters=WorkerCounters(folder / model.name, 2))


def ask(variants: Variants, count: int = 1, **request: str) -> list[str]:
    """Return the names of the variants that answer, and wait for the copies of the shadows."""

    async def run() -> list[str]:
        asked = ModelRequest(body=b"image", **request)
        names = [(await variants.respond(asked, LIMITS)).body.decode() for _ in range(count)]
        while variants._copies:
            await asyncio.wait(set(variants._copies))
        return names

    return asyncio.run(run())


def test_requests_are_shared_by_weight(tmp_path: Path) -> None:
    models = [FixedModel("a"), FixedModel("b")]
    variants = Variants(
        [variant(tmp_path, models[0], 0.75), variant(tmp_path, models[1], 0.25)], draws=random.Random(0)
    )
    counts = Counter(ask(variants, 400))
    assert counts["a"] + counts["b"] == 400
    assert 270 <= counts["a"] <= 330  # 300 +- 9 by chance
    assert totals(tmp_path / "b").requests["2xx"] == counts["b"]


def test_a_variant_can_be_asked_for(tmp_path: Path) -> None:
    variants = Variants([variant(tmp_path, FixedModel("a"), 0.999), variant(tmp_path, FixedModel("b"), 0.001)])
    assert ask(variants, 5, variant="b") == ["b"] * 5
    with pytest.raises(BadChoice, match="Did you mean a"):
        ask(variants, variant="aa")


def test_a_shadow_sees_every_request_and_is_compared(tmp_path: Path) -> None:
    shadow = FixedModel("shadow", classes=(0, 1))
    variants = Variants([variant(tmp_path, FixedModel("a", classes=(0, 0)), 1.0), variant(tmp_path, shadow, 0.0)])
    assert ask(variants, 3) == ["a"] * 3
    sums = totals(tmp_path / "shadow")
    assert (len(shadow.requests), sums.compared, sums.agreed) == (3, 6, 3)
    with pytest.raises(BadChoice):  # it answers nobody
        ask(variants, variant="shadow")


def test_a_shadow_that_hangs_or_fails_delays_no_response(tmp_path: Path) -> None:
    hanging = FixedModel("shadow", gate=asyncio.Event())
    variants = Variants([variant(tmp_path, FixedModel("a"), 1.0), variant(tmp_path, hanging, 0.0)])

    async def run() -> int:
        for _ in range(20):
            await variants.respond(ModelRequest(body=b"image"), LIMITS)
        await asyncio.sleep(0)
        variants.close()
        return len(hanging.requests)

    assert asyncio.run(run()) == 8  # the rest is not copied, so that bodies do not pile up
    assert hanging.closed


def test_the_response_names_its_variant_and_errors_are_counted(tmp_path: Path) -> None:
    counters = WorkerCounters(tmp_path / "all", 2)
    variants = Variants([variant(tmp_path, FixedModel("a"), 1.0)])
    app = build_app(variants, counters=counters, variants={"a": tmp_path / "a"})
    with TestClient(app) as client:
        response = client.post("/endpoints/dogs/invocations", content=b"image")
        assert response.headers["x-amzn-invoked-production-variant"] == "a"
        headers = {"X-Amzn-SageMaker-Target-Variant": "c"}
        assert client.post("/invocations", content=b"image", headers=headers).status_code == 400
        assert client.post("/invocations", content=b"bad").status_code == 400
        text = client.get("/metrics").text
    assert 'clearsight_variant_requests_total{variant="a",status="2xx"} 1' in text
    assert 'clearsight_variant_requests_total{variant="a",status="4xx"} 1' in text


def test_the_endpoint_is_healthy_once_every_variant_with_a_share_is(tmp_path: Path) -> None:
    healthy, ill = FixedModel("a"), FixedModel("b", problem="It is loading.")
    both = Variants([variant(tmp_path, healthy, 0.5), variant(tmp_path, ill, 0.5)])
    assert asyncio.run(both.problem()) == "variant b: It is loading."
    assert asyncio.run(Variants([variant(tmp_path, healthy, 1.0), variant(tmp_path, ill, 0.0)]).problem()) == ""


def test_shadows_alone_are_no_endpoint(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="share"):
        Variants([variant(tmp_path, FixedModel("a"), 0.0)])
