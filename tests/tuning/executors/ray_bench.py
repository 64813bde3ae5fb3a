"""A bench without a network: does what the first word of a trial's recipe says. And the surroundings of a test of Ray.

Imported in the worker processes of Ray too.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.trial import TrialResult, TrialState

_LONG = 60.0  # seconds after which a trial that should have been stopped gives up


class Bench:
    """What clearsight.workflow.study.job_runner.JobRunner is to a task."""

    made = 0  # in this process

    def __init__(self, post: Mapping[str, Any]) -> None:
        self._post = dict(post)
        Bench.made += 1

    @classmethod
    def at(cls, post: Mapping[str, Any]) -> Bench:
        return cls(post)

    def carry_out(self, assignment: Assignment, talk: Any) -> list[TrialResult]:
        return [one for task in assignment.tasks if (one := self._carried_out(task, talk)) is not None]

    def _carried_out(self, task: TrialTask, talk: Any) -> TrialResult | None:
        match task.recipe["do"]:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise ValueError("the bench is broken")
            case "wait":
                return self._waited(talk)
            case "tell where":
                where = {"pid": float(os.getpid()), "made": float(Bench.made)}
                return TrialResult(number=task.number, state=TrialState.COMPLETE, values=(1.0,), scores=where)
        return self._trained(task, talk)

    def _trained(self, task: TrialTask, talk: Any) -> TrialResult:
        for epoch in range(1, int(task.recipe["epochs"]) + 1):
            if reason := talk.epoch(task.number, epoch, {"accuracy": epoch / 10, "loss": float("nan")}):
                return TrialResult(number=task.number, state=TrialState.PRUNED, reason=reason)
        return TrialResult(number=task.number, state=TrialState.COMPLETE, values=(float(self._post["worth"]),))

    def _waited(self, talk: Any) -> None:
        ends = time.monotonic() + _LONG
        while not talk.interrupted():
            if time.monotonic() > ends:
                raise TimeoutError("nobody interrupted this trial")
            time.sleep(0.01)


@contextmanager
def surroundings(**more: str) -> Iterator[None]:
    """Within the block Ray's processes find this module, share a secret of this test, and write nothing at home.

    Ray leaves variables of its own behind in the environment; they go too.
    """
    root = str(Path(__file__).parents[3])
    said = {"PYTHONPATH": root, "RAY_AUTH_TOKEN": "5" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
    with mock.patch.dict(os.environ, {**said, **more}):
        yield


def until(
    events: Callable[[float], list[Any]], enough: Callable[[list[Any]], bool], seconds: float = 90.0
) -> list[Any]:
    """All events up to the first with which there are enough."""
    ends, found = time.monotonic() + seconds, []
    while not enough(found):
        assert time.monotonic() < ends, f"only this happened: {found}"
        found += events(0.5)
    return found
