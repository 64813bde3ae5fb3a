"""A trial that trains alone is a run like any other, and what its study thinks of it becomes its outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.trial import TrialResult, TrialState
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.run_trial import carry_out_run, chance_level_reason
from clearsight.workflow.train import fit
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
    from clearsight.workflow.run.context import LaunchContext

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


GUESSING = math.log(10)


def after(
    epoch: int,
    epochs: int = 12,
    *,
    loss: float | None = GUESSING,
    accuracy: float | None = 0.1,
    roc_auc: float | None = None,
) -> EpochRecord:
    train = {name: value for name, value in (("loss", loss), ("accuracy", accuracy)) if value is not None}
    return EpochRecord(
        epoch=epoch,
        epochs=epochs,
        step=epoch,
        lr=0.1,
        train=train,
        valid={} if roc_auc is None else {"roc_auc": roc_auc},
        images_per_second=1.0,
        data_share=0.0,
        seconds=1.0,
        best=False,
    )


def test_the_loss_and_the_accuracy_of_guessing() -> None:
    told = chance_level_reason(after(4, accuracy=0.11), 10)
    assert told == ("after 4 of 12 epochs it guesses: training loss 2.303, accuracy 0.110, where log 10 is 2.303")


def test_a_loss_far_above_that_of_guessing_is_no_guess() -> None:
    """A high rate makes it so, and whoever waits for the rate to fall may find the best trial of all."""
    assert chance_level_reason(after(4, loss=1.01 * GUESSING), 10) != ""
    assert chance_level_reason(after(4, loss=1.05 * GUESSING), 10) == ""
    assert chance_level_reason(after(4, loss=50.0), 10) == ""


def test_accuracy_above_chance_is_hope_whatever_the_loss() -> None:
    assert chance_level_reason(after(4, loss=5.0, accuracy=0.13), 10) == ""
    assert chance_level_reason(after(4, accuracy=0.12), 10) != ""  # within a fifth of chance it is chance


def test_a_loss_below_that_of_guessing_is_hope_whatever_the_accuracy() -> None:
    assert chance_level_reason(after(4, loss=0.97 * GUESSING), 10) == ""


def test_images_in_a_good_order_are_hope_whatever_they_are_called() -> None:
    guess = {"loss": math.log(2), "accuracy": 0.5}
    assert chance_level_reason(after(4, **guess, roc_auc=0.8), 2) == ""
    assert chance_level_reason(after(4, **guess, roc_auc=0.55), 2) != ""


@pytest.mark.parametrize(("epochs", "first"), [(4, 3), (9, 3), (12, 4), (13, 5), (30, 10)])
def test_not_before_a_third_and_not_before_three_epochs(epochs: int, first: int) -> None:
    assert [bool(chance_level_reason(after(epoch, epochs), 10)) for epoch in range(1, epochs)] == [
        epoch >= first for epoch in range(1, epochs)
    ]


@pytest.mark.parametrize("epochs", [1, 2, 3, 12])
def test_not_at_the_last_epoch_when_there_is_no_rest(epochs: int) -> None:
    assert chance_level_reason(after(epochs, epochs), 10) == ""


def test_what_is_not_known_is_not_held_against_it() -> None:
    assert chance_level_reason(after(4, loss=None), 10) == ""
    assert chance_level_reason(after(4, accuracy=None), 10) == ""


def test_two_classes_are_the_fewest_that_can_be_guessed() -> None:
    assert chance_level_reason(after(4, loss=math.log(2), accuracy=0.5), 1) == chance_level_reason(
        after(4, loss=math.log(2), accuracy=0.5), 2
    )
    assert "log 2 is 0.693" in chance_level_reason(after(4, loss=math.log(2), accuracy=0.5), 2)
