"""Proposals from trials alone, for a study whose trials somebody else runs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.tuning.proposal import propose
from clearsight.tuning.searchers.grid import Grid
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.searchers.tpe import TPE

LOSS = Objective("loss", "minimize")
SPACE = Space((Dimension(name="x", domain=FloatRange(low=0.0, high=1.0)),))
CHOICES = Space(
    (Dimension(name="a", domain=Choice(values=("1", "2"))), Dimension(name="b", domain=Choice(values=("p", "q"))))
)


def complete(values: Sequence[tuple[float, float]], source: str = "") -> list[Trial]:
    """Return trials of x and the loss there."""
    return [
        Trial(number=number, state=TrialState.COMPLETE, params={"x": x}, values=(loss,), source=source)
        for number, (x, loss) in enumerate(values)
    ]


def test_a_proposal_follows_from_the_seed_and_the_trials() -> None:
    trials = complete([(0.1, 0.5), (0.9, 0.2)])
    first = propose(trials, SPACE, LOSS, TPE(), 3)
    assert propose(trials, SPACE, LOSS, TPE(), 3) == first
    assert propose(trials, SPACE, LOSS, TPE(), 4) != first
    assert propose(trials[:1], SPACE, LOSS, TPE(), 3) != first


def test_the_search_goes_where_the_loss_is_low() -> None:
    trials = complete([(step / 20, abs(step / 20 - 0.7)) for step in range(21)])
    found = [propose(trials, SPACE, LOSS, TPE(), seed) for seed in range(10)]
    near = [values for values in found if values is not None and abs(values["x"] - 0.7) < 0.2]
    assert len(near) >= 8


def test_imported_trials_move_no_random_value() -> None:
    alone = propose([], SPACE, LOSS, Random(), 3)
    assert propose(complete([(0.1, 0.5), (0.9, 0.2)], source="earlier"), SPACE, LOSS, Random(), 3) == alone


def test_a_grid_is_proposed_once() -> None:
    trials: list[Trial] = []
    while (values := propose(trials, CHOICES, LOSS, Grid(), 0)) is not None:
        trials.append(Trial(number=len(trials), state=TrialState.RUNNING, params=values))
    assert [(trial.params["a"], trial.params["b"]) for trial in trials] == [
        *[("1", "p"), ("1", "q"), ("2", "p"), ("2", "q")]
    ]


@pytest.mark.parametrize("seed", range(4))
def test_fixed_values_are_taken_and_the_others_searched(seed: int) -> None:
    values = propose([], CHOICES, LOSS, Random(), seed, fixed={"a": "2"})
    assert values is not None
    assert values["a"] == "2"
    assert values["b"] in ("p", "q")
