"""A run that the debugger adjusts goes back to its last good checkpoint and continues with the changed settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.stop import StopSignal
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run import adjustments
from clearsight.workflow.run.adjustments import AdjustedTraining

HALVE = SimpleNamespace(verb="adjust", changes={"lr": 0.05})
RETRY = SimpleNamespace(verb="retry", changes={})


@dataclass
class FakeCheckpoints:
    """Counts what would happen to checkpoint files."""

    newest: Path
    calls: list[str] = field(default_factory=list)

    def last_step(self) -> int:
        return 7

    def keep_good(self) -> None:
        self.calls.append("keep")

    def back_to_good(self) -> None:
        self.calls.append("back")


class FakeDebugger:
    """Requests each of `requests` after one part of the training."""

    def __init__(self, *requests: Any) -> None:
        self.requests = [*requests]
        self.settings: list[tuple[int, float]] = []  # step and lr of each return
        planned = [SimpleNamespace(verb=request.verb) for request in requests]
        self.actions = SimpleNamespace(actions=planned, request=None)

    def go_back(self, step: int, settings: dict[str, Any]) -> None:
        self.settings.append((step, settings["lr"]))
        self.actions.request = None


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that trains with a debugger and returns: the training, `resume` of each part, checkpoints."""

    def run_training(debugger: FakeDebugger | None) -> tuple[AdjustedTraining, list[bool], FakeCheckpoints]:
        parts: list[bool] = []
        run = Run.begin(tmp_path / "run", Recipe().replace(lr=0.1))
        checkpoints = FakeCheckpoints(tmp_path / "newest")
        stop = StopSignal()
        fields: dict[str, Any] = dict.fromkeys(RunSetup.__dataclass_fields__)
        setup = RunSetup(**{**fields, "recipe": run.recipe, "world": SimpleNamespace(leads=False)})

        def part(job: object, *, resume: bool) -> str:
            parts.append(resume)
            assert stop.reason is None  # the stop for the last finding is taken back
            if debugger is not None and debugger.requests:
                debugger.actions.request = debugger.requests.pop(0)
                stop.ask(StopReason(StopKind.FINDING, "a finding"))
            return f"result {len(parts)}"

        monkeypatch.setattr(adjustments, "train_loop", part)
        monkeypatch.setattr(adjustments, "write_checkpoint", lambda job: None)
        monkeypatch.setattr(AdjustedTraining, "job", lambda self, observers: None)
        training = AdjustedTraining(run, setup, [], checkpoints, stop, [], debugger)  # type: ignore[arg-type]
        assert training.train() == f"result {len(parts)}"  # type: ignore[comparison-overlap]
        return training, parts, checkpoints

    return run_training


def test_without_a_debugger_it_trains_once(train: Any) -> None:
    _, parts, checkpoints = train(None)
    assert (parts, checkpoints.calls) == ([False], [])


def test_an_adjustment_goes_back_and_continues_with_other_settings(train: Any) -> None:
    debugger = FakeDebugger(HALVE)
    training, parts, checkpoints = train(debugger)
    assert parts == [False, True]
    assert checkpoints.calls == ["keep", "back"]  # the state at the start is kept to go back to
    assert debugger.settings == [(7, 0.05)]
    assert training.setup.recipe.optim.lr == 0.05
    assert Run.open(training.run.path).recipe.optim.lr == 0.05


def test_a_run_is_adjusted_at_most_three_times(train: Any) -> None:
    _, parts, checkpoints = train(FakeDebugger(*[HALVE] * 5))
    assert parts == [False, True, True, True]
    assert checkpoints.calls.count("back") == 3


def test_other_requests_end_the_training(train: Any) -> None:
    _, parts, checkpoints = train(FakeDebugger(RETRY))
    assert (parts, checkpoints.calls) == ([False], [])
