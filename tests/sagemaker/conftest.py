"""Fixtures: one service for the tests of a module, because the supervisor of its jobs is a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sagemaker.local_service import LocalService, local_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with local_service(tmp_path_factory.mktemp("home")) as service:
        yield service
