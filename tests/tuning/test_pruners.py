"""Which trials are not worth finishing, by the name of the pruner and the epochs of a trial."""

from __future__ import annotations

import optuna
import pytest

from clearsight.core.errors import BadChoice
from clearsight.tuning.pruners import PRUNERS, build_pruner


def stopped_at(name: str, curve: list[float], earlier: list[list[float]], epochs: int) -> int | None:
    """The epoch at which a trial is pruned, maximised, after earlier ones have run to their ends or been pruned."""
    study = optuna.create_study(study_name="s", direction="maximize", pruner=build_pruner(name, epochs))
    for values in (*earlier, curve):
        trial, at = study.ask(), None
        for epoch, value in enumerate(values, start=1):
            trial.report(value, epoch)
            if trial.should_prune():
                at = epoch
                break
        study.tell(trial, values[-1] if at is None else None, state=None if at is None else _PRUNED)
    return at


_PRUNED = optuna.trial.TrialState.PRUNED
GOOD = [0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9]
BAD = [0.1] * 9


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("epochs", [1, 2, 5, 40, 100_000])
def test_fits_any_number_of_epochs(name: str, epochs: int) -> None:
    assert stopped_at(name, [0.5] * min(epochs, 3), [[0.5]], epochs) in (None, 1, 2, 3)


@pytest.mark.parametrize("name", ["median", "asha"])
def test_stops_what_is_behind_the_others(name: str) -> None:
    at = stopped_at(name, BAD, [GOOD] * 6, epochs=9)
    assert at is not None
    assert at < 9


@pytest.mark.parametrize("name", PRUNERS)
def test_lets_the_better_ones_go_on(name: str) -> None:
    assert stopped_at(name, [value + 0.05 for value in GOOD], [GOOD] * 6, epochs=9) is None


def test_none_stops_nothing() -> None:
    assert stopped_at("none", BAD, [GOOD] * 9, epochs=9) is None


def test_the_median_waits_until_there_is_one() -> None:
    assert stopped_at("median", BAD, [GOOD] * 3, epochs=9) is None
    assert stopped_at("median", BAD, [GOOD] * 4, epochs=9) is not None


def test_the_median_leaves_the_first_tenth_alone() -> None:
    long = [0.9] * 30
    assert stopped_at("median", [0.1] * 30, [long] * 6, epochs=30) == 4
    assert stopped_at("median", BAD, [GOOD] * 6, epochs=9) == 2


def test_asha_looks_at_an_eighth_a_quarter_and_half() -> None:
    good = [0.5] * 40
    for looks in (5, 10, 20):
        late = [0.6] * (looks - 1) + [0.1] * (41 - looks)  # best until this look, worst from it on
        assert stopped_at("asha", late, [good] * 6, epochs=40) == looks


def test_asha_gives_each_trial_three_epochs() -> None:
    slow = [0.1, 0.2, 0.95, *[0.95] * 6]  # worst in its first two epochs, best from the third on
    assert stopped_at("asha", slow, [GOOD] * 6, epochs=9) is None
    assert stopped_at("asha", BAD, [GOOD] * 6, epochs=9) == 3


def test_asha_lets_the_better_half_go_on() -> None:
    earlier = [[value] * 9 for value in (0.2, 0.8, 0.3)]
    assert stopped_at("asha", [0.6] * 9, earlier, epochs=9) == 6  # second of four at the third epoch, of two later
    assert stopped_at("asha", [0.1] * 9, earlier, epochs=9) == 3


def test_hyperband_stops_some_of_its_brackets() -> None:
    stops = [stopped_at("hyperband", BAD, [GOOD] * before, epochs=9) for before in range(6, 16)]
    assert any(at is not None for at in stops)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(
        BadChoice, match=r"--prune medain: .*allowed: none, median, asha, hyperband, auto\. Did you mean m"
    ):
        build_pruner("medain", 10)
