"""Advice has numbers, and is given only if the trials support it."""

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


def advised(trials: Sequence[Trial], study_plan: StudyPlan | None = None) -> list[str]:
    study_plan = study_plan or plan()
    return advice(study_plan, trials, importances(trials, study_plan.space, study_plan.objectives[0]))


def at_best_lr(lr: float, count: int = 40, space: Space = SPACE) -> list[Trial]:
    """Trials whose accuracy is highest near `lr`."""
    return [done(i, params=params, value=accuracy(params, lr)) for i in range(count) for params in [point(i, space)]]


def sentence_with(sentences: Sequence[str], words: str) -> str:
    """The only sentence with those words."""
    (only,) = [sentence for sentence in sentences if words in sentence]
    return only


def test_the_most_important_setting_comes_first() -> None:
    first = advised(at_best_lr(6e-3))[0]
    assert first.startswith("lr explains 9")
    assert "% of the variance of accuracy" in first
    assert first.endswith("(fANOVA, 40 complete trials).")


def test_a_range_with_the_best_value_at_its_end_should_be_wider() -> None:
    sentence = sentence_with(advised(at_best_lr(0.3, 80)), "widen")
    assert "The best lr, 0.0" in sentence
    assert "upper end of its range (1e-05 to 0.1), and 5 of the best 5 trials lie in that quarter" in sentence
    assert '--space "lr=log(1e-05,1)"' in sentence


def test_the_suggested_space_can_be_parsed() -> None:
    sentence = sentence_with(advised(at_best_lr(3e-6, 80)), "widen")
    typed = sentence.split('--space "')[1].split('"')[0]
    assert parse_space([typed]).dimensions == (Dimension(name="lr", domain=FloatRange(low=1e-6, high=1e-1, log=True)),)


def test_a_best_value_inside_its_range_gives_no_advice() -> None:
    assert not any("widen" in sentence for sentence in advised(at_best_lr(6e-3)))


def test_a_range_is_not_widened_beyond_the_limits_of_its_setting() -> None:
    """Dropout starts at 0, so the range does not keep the best trial from a lower value."""
    space = Space((Dimension(name="dropout", domain=FloatRange(low=0.0, high=0.5)),))
    points = [point(i, space) for i in range(80)]
    falling = [done(i, params=params, value=0.9 - float(str(params["dropout"]))) for i, params in enumerate(points)]
    rising = [done(i, params=params, value=0.4 + float(str(params["dropout"]))) for i, params in enumerate(points)]
    assert not any("widen" in sentence for sentence in advised(falling, plan(space)))
    assert '"dropout=float(0,0.75)"' in sentence_with(advised(rising, plan(space)), "widen")


def test_whole_numbers_are_widened_on_their_steps_and_with_their_condition() -> None:
    space = Space(
        (
            Dimension(name="optimizer", domain=Choice(values=("sgd",))),
            Dimension(name="epochs", domain=IntRange(low=5, high=20, step=5), condition={"optimizer": ("sgd",)}),
        )
    )
    points = [{"optimizer": "sgd", "epochs": 5 + 5 * (i % 4)} for i in range(20)]
    trials = [
        done(i, params=params, value=0.5 + int(params["epochs"]) / 100 + i / 1e4) for i, params in enumerate(points)
    ]
    assert '"epochs=int(5,30,5) when optimizer=sgd"' in sentence_with(advised(trials, plan(space)), "widen")


def test_a_choice_of_all_best_trials_should_be_fixed() -> None:
    trials = [
        replace(trial, values=(trial.values[0] - (0.0 if trial.params["batch_size"] == 16 else 0.3),))
        for trial in at_best_lr(6e-3)
    ]
    sentence = sentence_with(advised(trials), "All of the best 5")
    assert "have batch_size = 16, though only 16 of 40 complete ones do (by chance: 0.7%)" in sentence
    assert sentence.endswith("fix it, --batch-size 16.")


def test_a_choice_of_most_trials_gives_no_advice() -> None:
    space = Space((SPACE.dimensions[0], Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd")))))
    points = [point(i, space) | {"optimizer": "sgd" if i % 8 == 0 else "adamw"} for i in range(40)]
    trials = [
        done(i, params=params, value=accuracy(params) - 0.1 * (params["optimizer"] == "sgd"))
        for i, params in enumerate(points)
    ]
    assert not any("All of the best" in sentence for sentence in advised(trials, plan(space)))


def test_unimportant_settings_should_be_fixed_as_in_the_best_trial() -> None:
    sentence = sentence_with(advised(at_best_lr(6e-3)), "less than 2%")
    assert "leave" in sentence
    assert "lr" not in sentence.split(" explain")[0]
    assert "--epochs " in sentence or "--dropout " in sentence


def test_random_values_give_no_advice() -> None:
    values = np.random.default_rng(0).random(40)
    trials = [done(i, value=float(value)) for i, value in enumerate(values)]
    sentences = advised(trials)
    assert "predict its accuracy no better than the mean" in sentences[0]
    assert not any("explain" in sentence for sentence in sentences)


@pytest.mark.parametrize(("count", "word"), [(1, "1 complete trial:"), (9, "9 complete trials:")])
def test_few_trials_give_no_advice_on_settings(count: int, word: str) -> None:
    sentences = advised(at_best_lr(0.3, count))
    assert sentences == [f"{word} too few to show which setting matters; at least 10 are needed."]


def test_no_trials_give_no_advice() -> None:
    assert advised([]) == []


def test_a_common_reason_of_failures_is_named_with_a_shared_value() -> None:
    trials = [
        broken(i, reason=f"CUDA out of memory: {i} GiB") if params["batch_size"] == 64 else done(i, params=params)
        for i in range(24)
        for params in [point(i)]
    ]
    sentence = sentence_with(advised(trials), "failed")
    failed = [trial for trial in trials if trial.reason]
    assert sentence == (
        f"{len(failed)} of 24 trials failed for the same reason (such as trial {failed[0].number}: CUDA out of memory: "
        f"{failed[0].number} GiB); all of them have batch_size = 64, and no complete trial has."
    )


def test_a_common_reason_of_pruning_is_named_with_few_trials_too() -> None:
    trials = [done(0), *(stopped(i, reason="its loss is no number") for i in range(1, 5))]
    assert advised(trials)[1] == ("4 of 5 trials were pruned for the same reason (trial 1: its loss is no number).")


def test_different_reasons_are_not_named() -> None:
    trials = [*at_best_lr(6e-3, 12), *(broken(12 + i, reason=reason) for i, reason in enumerate("abcdef"))]
    assert not any("same reason" in sentence for sentence in advised(trials))


def test_more_trials_are_advised_while_the_search_improves() -> None:
    rising = [done(i, value=0.5 + i / 100) for i in range(30)]
    sentence = sentence_with(advised(rising), "more trials")
    assert "from 0.69 to 0.79 in the last third of the 30 trials" in sentence
    grid = plan(searcher="grid")
    assert not any("more trials" in sentence for sentence in advised(rising, grid))


def test_fewer_trials_are_advised_after_an_early_best() -> None:
    falling = [done(i, value=0.8 - i / 100) for i in range(30)]
    assert "after trial 0, in the last 29 of 30 trials: fewer would have been enough" in sentence_with(
        advised(falling), "fewer"
    )


def test_a_lower_loss_is_better() -> None:
    study_plan = plan(objectives=(Objective("loss", "minimize"),))
    falling = [done(i, value=0.8 - i / 100) for i in range(30)]
    assert "The best loss still went from 0.61 to 0.51" in sentence_with(advised(falling, study_plan), "more trials")


def test_the_first_of_several_objectives_counts() -> None:
    study_plan = plan(objectives=(ACCURACY, Objective("seconds", "minimize")))
    trials = [replace(trial, values=(*trial.values, 3.0)) for trial in searched(30)]
    assert "of the variance of accuracy" in advised(trials, study_plan)[0]
