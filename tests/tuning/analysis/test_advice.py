"""Advice carries its numbers, and is not given where the trials do not carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Space
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective, Trial
from clearsight.tuning.analysis.advice import advice
from clearsight.tuning.analysis.importance import importances
from clearsight.tuning.space_syntax import parse_space
from tests.reports.study.studied import ACCURACY, SPACE, accuracy, broken, done, plan, point, searched, stopped


def advised(trials: Sequence[Trial], asked: StudyPlan | None = None) -> list[str]:
    asked = asked or plan()
    return advice(asked, trials, importances(trials, asked.space, asked.objectives[0]))


def at_best_lr(lr: float, count: int = 40, space: Space = SPACE) -> list[Trial]:
    """Trials whose accuracy is highest near `lr`."""
    return [done(i, params=where, value=accuracy(where, lr)) for i in range(count) for where in [point(i, space)]]


def said(sentences: Sequence[str], words: str) -> str:
    """The one sentence with those words."""
    (only,) = [sentence for sentence in sentences if words in sentence]
    return only


def test_it_begins_with_what_explains_most() -> None:
    first = advised(at_best_lr(6e-3))[0]
    assert first.startswith("lr explains 9")
    assert "% of the variance of accuracy" in first
    assert first.endswith("(fANOVA, 40 complete trials).")


def test_a_best_value_at_the_edge_is_a_reason_to_widen() -> None:
    sentence = said(advised(at_best_lr(0.3, 80)), "widen")
    assert "The best lr, 0.0" in sentence
    assert "upper end of its range (1e-05 to 0.1), and 5 of the best 5 trials lie in that quarter" in sentence
    assert '--space "lr=log(1e-05,1)"' in sentence


def test_what_it_says_to_type_can_be_typed() -> None:
    sentence = said(advised(at_best_lr(3e-6, 80)), "widen")
    typed = sentence.split('--space "')[1].split('"')[0]
    assert parse_space([typed]).dimensions == (Dimension(name="lr", domain=FloatRange(low=1e-6, high=1e-1, log=True)),)


def test_an_edge_is_no_news_in_the_middle_of_a_range() -> None:
    assert not any("widen" in sentence for sentence in advised(at_best_lr(6e-3)))


def test_a_range_is_not_widened_beyond_what_the_field_takes() -> None:
    """Dropout begins at 0: that the best has none is not the range's doing."""
    space = Space((Dimension(name="dropout", domain=FloatRange(low=0.0, high=0.5)),))
    points = [point(i, space) for i in range(80)]
    falling = [done(i, params=where, value=0.9 - float(str(where["dropout"]))) for i, where in enumerate(points)]
    rising = [done(i, params=where, value=0.4 + float(str(where["dropout"]))) for i, where in enumerate(points)]
    assert not any("widen" in sentence for sentence in advised(falling, plan(space)))
    assert '"dropout=float(0,0.75)"' in said(advised(rising, plan(space)), "widen")


def test_whole_numbers_are_widened_on_their_steps_and_with_their_condition() -> None:
    space = Space(
        (
            Dimension(name="optimizer", domain=Choice(values=("sgd",))),
            Dimension(name="epochs", domain=IntRange(low=5, high=20, step=5), when={"optimizer": ("sgd",)}),
        )
    )
    points = [{"optimizer": "sgd", "epochs": 5 + 5 * (i % 4)} for i in range(20)]
    trials = [done(i, params=where, value=0.5 + int(where["epochs"]) / 100 + i / 1e4) for i, where in enumerate(points)]
    assert '"epochs=int(5,30,5) when optimizer=sgd"' in said(advised(trials, plan(space)), "widen")


def test_a_choice_that_all_of_the_best_share_is_to_be_fixed() -> None:
    trials = [
        replace(trial, values=(trial.values[0] - (0.0 if trial.params["batch_size"] == 16 else 0.3),))
        for trial in at_best_lr(6e-3)
    ]
    sentence = said(advised(trials), "All of the best 5")
    assert "have batch_size = 16, though only 16 of 40 complete ones do (by chance: 0.7%)" in sentence
    assert sentence.endswith("fix it, --batch-size 16.")


def test_a_choice_that_most_trials_share_anyway_is_no_news() -> None:
    space = Space((SPACE.dimensions[0], Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd")))))
    points = [point(i, space) | {"optimizer": "sgd" if i % 8 == 0 else "adamw"} for i in range(40)]
    trials = [
        done(i, params=where, value=accuracy(where) - 0.1 * (where["optimizer"] == "sgd"))
        for i, where in enumerate(points)
    ]
    assert not any("All of the best" in sentence for sentence in advised(trials, plan(space)))


def test_idle_fields_are_fixed_as_in_the_best_trial() -> None:
    sentence = said(advised(at_best_lr(6e-3)), "less than 2%")
    assert "leave" in sentence
    assert "lr" not in sentence.split(" explain")[0]
    assert "--epochs " in sentence or "--dropout " in sentence


def test_chance_explains_nothing() -> None:
    values = np.random.default_rng(0).random(40)
    trials = [done(i, value=float(value)) for i, value in enumerate(values)]
    sentences = advised(trials)
    assert "foretells its accuracy no better than the mean" in sentences[0]
    assert not any("explain" in sentence for sentence in sentences)


@pytest.mark.parametrize(("count", "word"), [(1, "1 complete trial:"), (9, "9 complete trials:")])
def test_few_trials_are_said_to_be_few(count: int, word: str) -> None:
    sentences = advised(at_best_lr(0.3, count))
    assert sentences == [f"{word} too few to say which setting matters; 10 can begin to."]


def test_nothing_is_said_of_nothing() -> None:
    assert advised([]) == []


def test_trials_that_failed_for_one_reason_are_told_with_what_they_share() -> None:
    trials = [
        broken(i, reason=f"CUDA out of memory: {i} GiB") if where["batch_size"] == 64 else done(i, params=where)
        for i in range(24)
        for where in [point(i)]
    ]
    sentence = said(advised(trials), "failed")
    lost = [trial for trial in trials if trial.reason]
    assert sentence == (
        f"{len(lost)} of 24 trials failed for the same reason (such as trial {lost[0].number}: CUDA out of memory: "
        f"{lost[0].number} GiB); all of them have batch_size = 64, and no complete trial has."
    )


def test_pruning_for_one_reason_is_told_even_of_few_trials() -> None:
    trials = [done(0), *(stopped(i, reason="its loss is no number") for i in range(1, 5))]
    assert advised(trials)[1] == ("4 of 5 trials were pruned for the same reason (trial 1: its loss is no number).")


def test_many_reasons_are_none() -> None:
    trials = [*at_best_lr(6e-3, 12), *(broken(12 + i, reason=reason) for i, reason in enumerate("abcdef"))]
    assert not any("same reason" in sentence for sentence in advised(trials))


def test_a_search_that_still_gains_may_go_on() -> None:
    rising = [done(i, value=0.5 + i / 100) for i in range(30)]
    sentence = said(advised(rising), "more trials")
    assert "from 0.69 to 0.79 in the last third of the 30 trials" in sentence
    grid = plan(searcher="grid")
    assert not any("more trials" in sentence for sentence in advised(rising, grid))


def test_a_search_that_gained_early_was_too_long() -> None:
    falling = [done(i, value=0.8 - i / 100) for i in range(30)]
    assert "after trial 0, in the last 29 of 30 trials: fewer would have done" in said(advised(falling), "fewer")


def test_a_loss_is_better_when_it_is_lower() -> None:
    asked = plan(objectives=(Objective("loss", "minimize"),))
    falling = [done(i, value=0.8 - i / 100) for i in range(30)]
    assert "The best loss still went from 0.61 to 0.51" in said(advised(falling, asked), "more trials")


def test_of_several_objectives_the_first_is_meant() -> None:
    asked = plan(objectives=(ACCURACY, Objective("seconds", "minimize")))
    trials = [replace(trial, values=(*trial.values, 3.0)) for trial in searched(30)]
    assert "of the variance of accuracy" in advised(trials, asked)[0]
