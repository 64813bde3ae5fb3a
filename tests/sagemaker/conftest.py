"""Fixtures: one service for the tests of a module, because the supervisor of its jobs is a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clearsight_sagemaker.state.home import ServiceHome
from tests.sagemaker.local_service import LocalService, local_service
from tests.sagemaker.service_process import end_processes


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    home = tmp_path_factory.mktemp("home")
    with local_service(home) as service:
        yield service
    end_processes(ServiceHome(home))
