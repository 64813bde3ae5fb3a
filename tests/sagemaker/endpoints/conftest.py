"""A service with endpoints; its supervisor is a process, so that the tests of a module share it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sagemaker.endpoints.hosted import Hosted
from tests.sagemaker.local_service import LocalService


@pytest.fixture(scope="module")
def hosted(service: LocalService) -> Iterator[Hosted]:
    hosted = Hosted(service)
    yield hosted
    hosted.delete_all()
