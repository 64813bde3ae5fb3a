"""Trials within the interval of the best one are counted: the validation images cannot tell them apart."""

from __future__ import annotations

from clearsight.core.statistics import wilson
from clearsight.core.ties import ties, ties_text
from clearsight.core.trial import Objective, Trial, TrialState

ACCURACY = Objective("accuracy", "maximize")


def trials(*accuracies: float) -> list[Trial]:
    return [
        Trial(
            number=number, state=TrialState.COMPLETE, params={}, values=(accuracy,), scores={"loss": 1.0 - number / 10}
        )
        for number, accuracy in enumerate(accuracies)
    ]


def test_trials_within_the_interval_of_the_best_are_counted() -> None:
    found = ties(trials(0.95, 0.95, 0.90, 0.80), ACCURACY, images=100)
    assert found is not None
    assert (found.low, found.high) == wilson(95, 100)  # 0.888 to 0.978
    assert (found.trials, found.equal, found.within) == (4, 1, 2)


def test_more_images_tell_more_trials_apart() -> None:
    found = ties(trials(0.95, 0.95, 0.90, 0.80), ACCURACY, images=10_000)
    assert found is not None
    assert (found.equal, found.within) == (1, 1)


def test_the_sentence_has_the_images_and_why_the_best_was_taken() -> None:
    found = ties(trials(1.0, 1.0, 0.5), ACCURACY, images=6)
    assert found is not None
    text = ties_text(found.to_json())
    assert text.startswith(
        "6 validation images cannot tell 1 of 2 other trials from the best (95 % interval 0.610 to 1"
    )
    assert text.endswith("; of 2 trials with equal accuracy it has the lowest loss")


def test_nothing_is_said_where_all_others_are_worse() -> None:
    found = ties(trials(0.9, 0.1), ACCURACY, images=1000)
    assert found is not None
    assert ties_text(found.to_json()) == ""


def test_a_trial_with_the_recipe_of_another_is_no_other_trial() -> None:
    first, second = trials(0.9, 0.9)
    shared = Trial(number=1, state=TrialState.COMPLETE, params={}, values=(0.9,), same_as=0)
    found = ties([first, shared], ACCURACY, images=50)
    assert found is not None
    assert (found.trials, found.equal) == (1, 0)
    assert second.number == 1


def test_other_metrics_have_no_interval() -> None:
    assert ties(trials(0.9, 0.9), Objective("loss", "minimize"), images=50) is None
    assert ties([], ACCURACY, images=50) is None
    assert ties(trials(0.9), ACCURACY, images=0) is None
