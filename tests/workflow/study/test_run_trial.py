"""A trial that trains by itself is a run like any other, and its end becomes the result of the trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import ClearsightError
from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.study.run_trial import run_trial
from clearsight.workflow.train import train
from tests.workflow.in_process import TINY

RECIPE = Recipe().replace(**{**TINY, "epochs": 3, "limit": 60})


class Reporter:
    """A reporter that keeps the scores; it stops the trial after an epoch, or interrupts it then."""

    def __init__(self, *, stop_at: int = 0, interrupt_at: int = 0) -> None:
        self.scores: dict[int, Mapping[str, float]] = {}
        self._stop_at, self._interrupt_at = stop_at, interrupt_at

    def report_epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        assert number == 4
        self.scores[epoch] = dict(scores)
        return "worse than the others" if epoch == self._stop_at else ""

    def interruption(self) -> str:
        return "the study was interrupted" if self._interrupt_at in self.scores else ""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


RunTrial = Callable[..., TrialResult | None]


@pytest.fixture
def run_four(digits: Path, tmp_path: Path, home: Path) -> RunTrial:
    """Runs trial 4 in its folder, from its checkpoint if there is one."""

    def run(reporter: Reporter, *metrics: str, **settings: Any) -> TrialResult | None:
        folder, paths = TrialFolder(tmp_path / "0004"), Paths(cache=home / "cache", weights=())
        return run_trial(folder, RECIPE.replace(**settings), digits, metrics or ("accuracy",), paths, reporter)

    return run


def ended(result: TrialResult | None) -> TrialResult:
    assert result is not None
    return result


def test_a_complete_trial_has_the_scores_and_facts_of_its_run(run_four: RunTrial, tmp_path: Path) -> None:
    reporter = Reporter()
    result = ended(run_four(reporter, "accuracy", "loss", "parameters", "seconds", "images_per_second", "roc_auc"))
    run = Run.open(tmp_path / "0004" / "run")
    assert (result.number, result.state, result.reason) == (4, TrialState.COMPLETE, "")
    assert result.curve == reporter.scores == {epoch["epoch"]: epoch["valid"] for epoch in run.epochs()}
    best = result.scores
    assert result.best_epoch is not None
    assert best == run.scores["valid"] == result.curve[result.best_epoch]
    accuracy, loss, parameters, seconds, speed, roc_auc = result.values
    assert (accuracy, loss) == (best["accuracy"], best["loss"])
    assert parameters > 1000
    assert 0 < seconds <= result.seconds
    assert speed > 0
    assert math.isnan(roc_auc)  # undefined for ten classes
    assert result.started > 0


def test_a_complete_trial_has_no_model_and_no_test_scores(run_four: RunTrial, tmp_path: Path) -> None:
    run_four(Reporter(), epochs=1)
    run = Run.open(tmp_path / "0004" / "run")
    assert run.status is RunStatus.COMPLETED
    assert not run.has_bundle
    assert run.scores["test"] is None
    assert not list((run.path / "evaluation").iterdir())
    assert (run.checkpoints / "best.safetensors").is_file()


def test_a_trial_scores_like_a_run_outside_a_study(
    run_four: RunTrial, digits: Path, home: Path, tmp_path: Path
) -> None:
    launch = LaunchContext(paths=Paths(cache=home / "cache", weights=()))
    run = train(digits, out=tmp_path / "run", recipe=RECIPE, launch=launch)
    assert ended(run_four(Reporter())).scores == run.scores["valid"]


def test_the_study_may_end_a_trial_after_any_epoch(run_four: RunTrial) -> None:
    result = ended(run_four(Reporter(stop_at=2)))
    assert (result.state, result.reason, result.values) == (TrialState.PRUNED, "worse than the others", ())
    assert result.stop_kind is StopKind.PRUNED
    assert list(result.curve) == [1, 2]


def test_an_interrupted_trial_continues_from_its_checkpoint(run_four: RunTrial, tmp_path: Path) -> None:
    assert run_four(Reporter(interrupt_at=1)) is None
    assert len(Run.open(tmp_path / "0004" / "run").epochs()) == 1
    rest = Reporter()
    result = ended(run_four(rest))
    assert list(rest.scores) == [2, 3]
    assert list(result.curve) == [1, 2, 3]
    assert result.state is TrialState.COMPLETE


def test_an_unreported_end_is_reported_again(run_four: RunTrial) -> None:
    """The worker was killed after the end of the run and before the result."""
    first, second = (ended(run_four(Reporter(), "accuracy", "parameters")) for _ in range(2))
    assert (second.state, second.values, second.curve) == (first.state, first.values, first.curve)


def test_a_diverged_trial_is_pruned(run_four: RunTrial) -> None:
    """The weight decay flips the sign of every weight in each step, and makes it larger."""
    settings = {"optimizer": "sgd", "lr": 10.0, "weight_decay": 1.0, "schedule": "constant", "warmup": 0}
    result = ended(run_four(Reporter(), **settings, batch_size=4, limit=120, debug="off"))
    assert (result.state, result.stop_kind) == (TrialState.PRUNED, StopKind.DIVERGED)
    assert "loss" in result.reason
    assert result.values == ()


def test_a_trial_at_chance_level_is_pruned(run_four: RunTrial) -> None:
    result = ended(run_four(Reporter(), epochs=5, lr=1e-9, debug="off"))
    assert (result.state, result.stop_kind) == (TrialState.PRUNED, StopKind.AT_CHANCE)
    assert result.reason.startswith("the model is at chance level after 3 of 5 epochs: training loss 2.3")


@pytest.mark.parametrize(
    ("settings", "action"),
    [({}, ("severe=stop-trial",)), ({"debug": "off"}, ()), ({"on_finding": ("notify",)}, ("notify",))],
)
def test_severe_findings_end_a_trial_unless_the_recipe_sets_another_action(
    run_four: RunTrial, tmp_path: Path, settings: dict[str, Any], action: tuple[str, ...]
) -> None:
    run_four(Reporter(), epochs=1, **settings)
    assert Run.open(tmp_path / "0004" / "run").recipe.debug.on_finding == action


def test_a_mistake_is_raised_before_a_run_begins(run_four: RunTrial, tmp_path: Path) -> None:
    with pytest.raises(ClearsightError, match="layer9"):
        run_four(Reporter(), freeze="layer9")
    assert not (tmp_path / "0004" / "run" / "run.json").exists()
