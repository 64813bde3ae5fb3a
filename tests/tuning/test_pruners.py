"""Pruners: which trials end early, and at which epoch."""

from __future__ import annotations

import optuna
import pytest

from clearsight.core.errors import BadChoice
from clearsight.tuning.pruners import PRUNERS, build_pruner


def stopped_at(name: str, curve: list[float], earlier: list[list[float]], epochs: int) -> int | None:
    """The epoch at which a trial is pruned, if its values are maximised, after earlier trials have ended."""
    study = optuna.create_study(study_name="s", direction="maximize", pruner=build_pruner(name, epochs))
    for values in (*earlier, curve):
        trial, stop_epoch = study.ask(), None
        for epoch, value in enumerate(values, start=1):
            trial.report(value, epoch)
            if trial.should_prune():
                stop_epoch = epoch
                break
        study.tell(trial, values[-1] if stop_epoch is None else None, state=None if stop_epoch is None else _PRUNED)
    return stop_epoch


_PRUNED = optuna.trial.TrialState.PRUNED
GOOD = [0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9]
BAD = [0.1] * 9


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("epochs", [1, 2, 5, 40, 100_000])
def test_works_with_any_number_of_epochs(name: str, epochs: int) -> None:
    assert stopped_at(name, [0.5] * min(epochs, 3), [[0.5]], epochs) in (None, 1, 2, 3)


@pytest.mark.parametrize("name", ["median", "asha"])
def test_stops_a_bad_trial(name: str) -> None:
    epoch = stopped_at(name, BAD, [GOOD] * 6, epochs=9)
    assert epoch is not None
    assert epoch < 9


@pytest.mark.parametrize("name", PRUNERS)
def test_lets_a_good_trial_continue(name: str) -> None:
    assert stopped_at(name, [value + 0.05 for value in GOOD], [GOOD] * 6, epochs=9) is None


def test_none_stops_no_trial() -> None:
    assert stopped_at("none", BAD, [GOOD] * 9, epochs=9) is None


def test_the_median_needs_four_ended_trials() -> None:
    assert stopped_at("median", BAD, [GOOD] * 3, epochs=9) is None
    assert stopped_at("median", BAD, [GOOD] * 4, epochs=9) is not None


def test_the_median_stops_no_trial_in_the_first_tenth() -> None:
    long = [0.9] * 30
    assert stopped_at("median", [0.1] * 30, [long] * 6, epochs=30) == 4
    assert stopped_at("median", BAD, [GOOD] * 6, epochs=9) == 2


def test_asha_decides_at_an_eighth_a_quarter_and_half() -> None:
    good = [0.5] * 40
    for rung in (5, 10, 20):
        late = [0.6] * (rung - 1) + [0.1] * (41 - rung)  # best before this rung, worst from it on
        assert stopped_at("asha", late, [good] * 6, epochs=40) == rung


def test_asha_gives_each_trial_three_epochs() -> None:
    slow = [0.1, 0.2, 0.95, *[0.95] * 6]  # worst in its first two epochs, best from the third on
    assert stopped_at("asha", slow, [GOOD] * 6, epochs=9) is None
    assert stopped_at("asha", BAD, [GOOD] * 6, epochs=9) == 3


def test_asha_lets_the_better_half_continue() -> None:
    earlier = [[value] * 9 for value in (0.2, 0.8, 0.3)]
    assert stopped_at("asha", [0.6] * 9, earlier, epochs=9) == 6  # second of four at the third epoch, of two later
    assert stopped_at("asha", [0.1] * 9, earlier, epochs=9) == 3


def test_hyperband_stops_some_of_its_brackets() -> None:
    stops = [stopped_at("hyperband", BAD, [GOOD] * before, epochs=9) for before in range(6, 16)]
    assert any(epoch is not None for epoch in stops)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        BadChoice, match=r"--prune medain: .*Allowed: none, median, asha, hyperband, auto\. Did you mean m"
    ):
        build_pruner("medain", 10)
