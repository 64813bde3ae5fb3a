"""A trial that trains alone is a run like any other, and what its study thinks of it becomes its outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.recipe import Recipe
from clearsight.core.run import Run, RunStatus
from clearsight.core.trial import TrialResult, TrialState
from clearsight.workflow.fit import fit
from clearsight.workflow.places import Paths
from clearsight.workflow.run_trial import carry_out_run
from tests.workflow.here import TINY

RECIPE = Recipe().replace(**{**TINY, "epochs": 3, "limit": 60})


class Study:
    """A study's end of the line: keeps what it was told; stops the trial after an epoch, or interrupts it then."""

    def __init__(self, *, stop_at: int = 0, interrupt_at: int = 0) -> None:
        self.told: dict[int, Mapping[str, float]] = {}
        self._stop_at, self._interrupt_at = stop_at, interrupt_at

    def epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        assert number == 4
        self.told[epoch] = dict(scores)
        return "it is behind" if epoch == self._stop_at else ""

    def interrupted(self) -> str:
        return "the study was interrupted" if self._interrupt_at in self.told else ""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def tried(digits: Path, tmp_path: Path, home: Path) -> Any:
    def act(study: Study, *metrics: str, **settings: Any) -> TrialResult | None:
        places = Paths(cache=home / "cache", weights=())
        return carry_out_run(
            tmp_path / "0004", RECIPE.replace(**settings), digits, metrics or ("accuracy",), places, study
        )

    return act


def the(outcome: TrialResult | None) -> TrialResult:
    assert outcome is not None
    return outcome


def test_a_whole_training(tried: Any, tmp_path: Path) -> None:
    study = Study()
    outcome = the(tried(study, "accuracy", "loss", "parameters", "seconds", "images_per_second", "roc_auc"))
    run = Run.open(tmp_path / "0004" / "run")
    assert (outcome.number, outcome.state, outcome.reason) == (4, TrialState.COMPLETE, "")
    assert outcome.curve == study.told == {epoch["epoch"]: epoch["valid"] for epoch in run.epochs()}
    best = outcome.scores
    assert outcome.best_epoch is not None
    assert best == run.scores["valid"] == outcome.curve[outcome.best_epoch]
    accuracy, loss, parameters, seconds, speed, roc_auc = outcome.values
    assert (accuracy, loss) == (best["accuracy"], best["loss"])
    assert parameters > 1000
    assert 0 < seconds <= outcome.seconds
    assert speed > 0
    assert math.isnan(roc_auc)  # there is none with ten classes
    assert outcome.started > 0


def test_it_is_put_by_without_a_model(tried: Any, tmp_path: Path) -> None:
    tried(Study(), epochs=1)
    run = Run.open(tmp_path / "0004" / "run")
    assert run.status is RunStatus.COMPLETED
    assert not run.has_bundle
    assert run.scores["test"] is None
    assert not list((run.path / "evaluation").iterdir())
    assert (run.checkpoints / "best.safetensors").is_file()


def test_it_scores_what_it_would_score_outside_of_a_study(tried: Any, digits: Path, home: Path, tmp_path: Path) -> None:
    from clearsight.workflow.circumstances import LaunchContext

    around = LaunchContext(places=Paths(cache=home / "cache", weights=()))
    alone = fit(digits, out=tmp_path / "alone", recipe=RECIPE, around=around)
    assert the(tried(Study())).scores == alone.scores["valid"]


def test_a_study_may_end_it_after_any_epoch(tried: Any) -> None:
    outcome = the(tried(Study(stop_at=2)))
    assert (outcome.state, outcome.reason, outcome.values) == (TrialState.PRUNED, "it is behind", ())
    assert list(outcome.curve) == [1, 2]


def test_an_interrupted_trial_has_no_outcome_and_goes_on_where_it_was(tried: Any, tmp_path: Path) -> None:
    assert tried(Study(interrupt_at=1)) is None
    assert len(Run.open(tmp_path / "0004" / "run").epochs()) == 1
    rest = Study()
    outcome = the(tried(rest))
    assert list(rest.told) == [2, 3]
    assert list(outcome.curve) == [1, 2, 3]
    assert outcome.state is TrialState.COMPLETE


def test_a_trial_whose_end_was_told_to_nobody_is_told_again(tried: Any) -> None:
    """Its worker was killed between the end of the run and the outcome."""
    first, again = the(tried(Study(), "accuracy", "parameters")), the(tried(Study(), "accuracy", "parameters"))
    assert (again.state, again.values, again.curve) == (first.state, first.values, first.curve)


def test_a_loss_that_is_no_number_is_pruned(tried: Any) -> None:
    """A decay that turns every weight round and makes it larger, in each step."""
    settings = {"optimizer": "sgd", "lr": 10.0, "weight_decay": 1.0, "schedule": "constant", "warmup": 0}
    outcome = the(tried(Study(), **settings, batch_size=4, limit=120, debug="off"))
    assert outcome.state is TrialState.PRUNED
    assert "loss" in outcome.reason
    assert outcome.values == ()


def test_a_trial_that_guesses_is_not_gone_on_with(tried: Any) -> None:
    outcome = the(tried(Study(), epochs=5, lr=1e-9, debug="off"))
    assert outcome.state is TrialState.PRUNED
    assert outcome.reason.startswith("after 3 of 5 epochs it guesses: training loss 2.3")


@pytest.mark.parametrize(
    ("settings", "asked"),
    [({}, ("severe=stop-trial",)), ({"debug": "off"}, ()), ({"on_finding": ("notify",)}, ("notify",))],
)
def test_the_debugger_ends_what_is_hopeless_unless_it_was_told_otherwise(
    tried: Any, tmp_path: Path, settings: dict[str, Any], asked: tuple[str, ...]
) -> None:
    tried(Study(), epochs=1, **settings)
    assert Run.open(tmp_path / "0004" / "run").recipe.debug.on_finding == asked


def test_a_mistake_is_raised_before_there_is_a_run(tried: Any, tmp_path: Path) -> None:
    from clearsight.core.errors import ClearsightError

    with pytest.raises(ClearsightError, match="layer9"):
        tried(Study(), freeze="layer9")
    assert not (tmp_path / "0004" / "run" / "run.json").exists()
