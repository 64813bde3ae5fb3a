"""A predictor, a running endpoint and real images, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from clearsight.core.bundle import Bundle
from clearsight.serving.predictor import Predictor, load
from clearsight.testing.mean_colour import make_bundle, prepare
from clearsight.testing.serving import serving


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def predictor(bundle: Bundle) -> Predictor:
    return load(bundle, prepare)


@pytest.fixture(scope="session")
def client(predictor: Predictor) -> Iterator[httpx.Client]:
    with serving(predictor) as client:
        yield client


@pytest.fixture(scope="session")
def photo(shared: Path) -> bytes:
    """Return a real JPEG."""
    return (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()


@pytest.fixture(scope="session")
def photos(shared: Path) -> list[bytes]:
    """Return 32 different real JPEGs."""
    files = sorted((shared / "data" / "imagenet-sample").rglob("*.jp*g"))[:32]
    assert len(files) == 32
    return [file.read_bytes() for file in files]
