"""A post travels to its worker as plain JSON values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.workflow.paths import Paths
from clearsight.workflow.study.reporter import WorkerResources

PLACES = Paths(cache=Path("/cache"), weights=(Path("/w1"), Path("/w2")))


@pytest.mark.parametrize(
    "post",
    [WorkerResources(places=PLACES), WorkerResources(places=PLACES, device="cuda:1", threads=3)],
)
def test_comes_back_as_it_was(post: WorkerResources) -> None:
    assert WorkerResources.from_json(json.loads(json.dumps(post.to_json()))) == post


def test_leaves_open_what_nobody_said() -> None:
    assert (WorkerResources(places=PLACES).device, WorkerResources(places=PLACES).threads) == ("auto", None)
