"""The median rule and the rungs of Hyperband on plain curves."""

from __future__ import annotations

from collections import Counter

from clearsight.core.trial import Objective
from clearsight.tuning.early_stopping import behind_at_rung, below_median, hyperband_rungs

LOSS = Objective("loss", "minimize")
ACCURACY = Objective("accuracy", "maximize")
EARLIER = [[1.0, 0.8, 0.6], [0.9, 0.7], [0.5, 0.3, 0.1]]  # means of two values: 0.9, 0.8, 0.4


def test_worse_than_the_median_of_the_means() -> None:
    assert below_median([2.0, 0.81], EARLIER, LOSS)
    assert not below_median([2.0, 0.79], EARLIER, LOSS)
    assert below_median([0.1, 0.79], EARLIER, ACCURACY)
    assert not below_median([0.1, 0.81], EARLIER, ACCURACY)


def test_an_earlier_trial_that_ended_before_counts_with_all_its_values() -> None:
    assert below_median([0.0, 0.0, 0.81], EARLIER, LOSS)  # 0.8, 0.8 and 0.3


def test_a_few_earlier_trials_are_needed() -> None:
    assert not below_median([9.0], EARLIER[:2], LOSS)
    assert not below_median([9.0], [*EARLIER[:2], []], LOSS)
    assert not below_median([], EARLIER, LOSS)


def test_brackets_of_hyperband_begin_at_different_epochs() -> None:
    rungs = Counter(tuple(hyperband_rungs(number, 1, 27)) for number in range(1, 50))
    assert [*sorted(rungs)] == [(), (1, 3, 9), (3, 9), (9,)]
    # Of 49 trials, Hyperband gives 27, 12, 6 and 4 to the brackets.
    assert abs(rungs[1, 3, 9] - 27) <= 2
    assert abs(rungs[()] - 4) <= 2
    assert hyperband_rungs(1, 2, 5) == []  # one bracket: nothing is compared before the end


def test_the_best_third_of_a_rung_goes_on() -> None:
    numbers = [number for number in range(1, 60) if hyperband_rungs(number, 1, 27) == [1, 3, 9]][:6]
    curves = {number: [float(place)] for place, number in enumerate(numbers)}
    behind = [behind_at_rung(number, curves, LOSS, 1, 27) for number in numbers]
    assert behind == [None, None, 1, 1, 1, 1]
    assert behind_at_rung(numbers[5], curves, ACCURACY, 1, 27) is None


def test_only_trials_of_the_same_bracket_are_compared() -> None:
    first = next(number for number in range(1, 60) if hyperband_rungs(number, 1, 27) == [1, 3, 9])
    other = next(number for number in range(1, 60) if hyperband_rungs(number, 1, 27) == [3, 9])
    curves = {first: [0.9], other: [0.1, 0.1, 0.1]}
    assert behind_at_rung(first, curves, LOSS, 1, 27) is None
    assert behind_at_rung(other, {other: [0.5, 0.5]}, LOSS, 1, 27) is None  # it has not reached its first rung
