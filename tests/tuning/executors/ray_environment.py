"""Environment of tests with Ray, and a runner without a network. Ray's worker processes import this module too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from clearsight.core.executor import Assignment
from clearsight.core.trial import TrialResult, TrialState


class CountingRunner:
    """A runner that raises if the recipe says so; else its results count the runners of its process."""

    built = 0  # in this process

    def __init__(self, resources: Mapping[str, Any]) -> None:
        CountingRunner.built += 1

    @classmethod
    def from_json(cls, resources: Mapping[str, Any]) -> CountingRunner:
        return cls(resources)

    def run(self, assignment: Assignment, reporter: Any) -> list[TrialResult]:
        if any(task.recipe.get("raises") for task in assignment.tasks):
            raise ValueError("the runner is broken")
        scores = {"built": float(CountingRunner.built)}
        return [
            TrialResult(number=task.number, state=TrialState.COMPLETE, values=(1.0,), scores=scores)
            for task in assignment.tasks
        ]


@contextmanager
def ray_environment(**variables: str) -> Iterator[None]:
    """Within the block Ray's processes find this module, share a token of this test, and write nothing at home.

    Ray leaves variables of its own in the environment; they are removed after the block.
    """
    root = str(Path(__file__).parents[3])
    fixed = {"PYTHONPATH": root, "RAY_AUTH_TOKEN": "5" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
    with mock.patch.dict(os.environ, {**fixed, **variables}):
        yield


def until(
    events: Callable[[float], list[Any]], enough: Callable[[list[Any]], bool], seconds: float = 90.0
) -> list[Any]:
    """All events up to the first with which there are enough."""
    import time

    end, found = time.monotonic() + seconds, []
    while not enough(found):
        assert time.monotonic() < end, f"only these events came: {found}"
        found += events(0.5)
    return found
