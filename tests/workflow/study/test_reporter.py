"""WorkerResources travel to a worker as JSON values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.workflow.paths import Paths
from clearsight.workflow.study.reporter import WorkerResources

PATHS = Paths(cache=Path("/cache"), weights=(Path("/w1"), Path("/w2")))


@pytest.mark.parametrize(
    "resources",
    [WorkerResources(paths=PATHS), WorkerResources(paths=PATHS, device="cuda:1", threads=3)],
)
def test_resources_come_back(resources: WorkerResources) -> None:
    assert WorkerResources.from_json(json.loads(json.dumps(resources.to_json()))) == resources


def test_device_and_threads_are_unset_by_default() -> None:
    assert (WorkerResources(paths=PATHS).device, WorkerResources(paths=PATHS).threads) == ("auto", None)
