"""Importance: finds the setting that matters, and nothing if the trials are too few or too alike."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.trial import Objective, Trial
from clearsight.tuning.analysis.importance import importances, informative_trials, out_of_bag_score
from tests.reports.study.studied import ACCURACY, SPACE, broken, done, point, stopped


@pytest.fixture(scope="module")
def forty() -> list[Trial]:
    return [done(number) for number in range(40)]


@pytest.fixture(scope="module")
def chance() -> list[Trial]:
    values = np.random.default_rng(0).random(40)
    return [done(number, value=float(value)) for number, value in enumerate(values)]


def test_both_methods_put_the_learning_rate_first(forty: list[Trial]) -> None:
    found = importances(forty, SPACE, ACCURACY)
    assert list(found) == ["fanova", "ped_anova"]
    assert all(next(iter(shares)) == "lr" for shares in found.values())
    assert found["fanova"]["lr"] > 0.8
    assert found["fanova"]["dropout"] < 0.05


def test_fanova_adds_up_to_less_than_one_and_ped_anova_to_one(forty: list[Trial]) -> None:
    found = importances(forty, SPACE, ACCURACY)
    assert 0.8 < sum(found["fanova"].values()) < 1
    assert sum(found["ped_anova"].values()) == pytest.approx(1)
    assert list(found["fanova"].values()) == sorted(found["fanova"].values(), reverse=True)


def test_the_same_trials_give_the_same_shares(forty: list[Trial]) -> None:
    assert importances(forty, SPACE, ACCURACY) == importances(forty, SPACE, ACCURACY)


def test_a_loss_has_the_importances_of_its_negative(forty: list[Trial]) -> None:
    losses = [replace(trial, values=(-trial.values[0],)) for trial in forty]
    found = importances(losses, SPACE, Objective("loss", "minimize"))
    assert found["ped_anova"] == pytest.approx(importances(forty, SPACE, ACCURACY)["ped_anova"])


def test_each_order_of_magnitude_has_the_same_weight() -> None:
    """The value changes between 1e-5 and 1e-3, which is a hundredth of the range and half of its decades."""
    space = Space(
        (
            Dimension(name="lr", domain=FloatRange(low=1e-5, high=1e-1, log=True)),
            Dimension(name="dropout", domain=FloatRange(low=0.0, high=0.6)),
        )
    )
    trials = []
    for number in range(60):
        params = point(number, space)
        lr, dropout = float(str(params["lr"])), float(str(params["dropout"]))
        value = 0.2 * min(0.0, math.log10(lr) + 3) + 0.3 * dropout
        trials.append(done(number, params=params, value=value))
    assert importances(trials, space, ACCURACY)["fanova"]["lr"] > 0.6


def test_conditional_settings_are_left_out_of_fanova_alone() -> None:
    found = importances([done(number) for number in range(100)], SPACE, ACCURACY)
    assert "momentum" not in found["fanova"]
    assert found["ped_anova"]["momentum"] < 0.1


def test_a_setting_of_few_good_trials_has_no_share(forty: list[Trial]) -> None:
    """Two or three close values would make the sharpest density of all; momentum does nothing here."""
    assert "momentum" not in importances(forty[:20], SPACE, ACCURACY)["ped_anova"]


@pytest.mark.parametrize(("count", "methods"), [(0, []), (3, []), (5, ["fanova"]), (10, ["fanova", "ped_anova"])])
def test_methods_need_a_number_of_trials(forty: list[Trial], count: int, methods: list[str]) -> None:
    assert list(importances(forty[:count], SPACE, ACCURACY)) == methods


def test_equal_values_have_no_importances() -> None:
    assert importances([done(number, value=0.5) for number in range(20)], SPACE, ACCURACY) == {}
    assert out_of_bag_score([done(number, value=0.5) for number in range(20)], SPACE) is None


def test_only_trained_trials_of_the_study_with_finite_values_count(forty: list[Trial]) -> None:
    others = [
        broken(40),
        stopped(41),
        done(42, value=math.nan),
        done(43, value=math.inf),
        replace(done(44, value=0.0), source="studies/monday"),
        replace(forty[0], number=45, same_as=0),
        done(46, params={**point(46), "lr": 1.0}, value=0.0),  # of a range that was narrowed since
    ]
    assert informative_trials([*forty, *others], SPACE) == forty
    assert importances([*forty, *others], SPACE, ACCURACY) == importances(forty, SPACE, ACCURACY)


def test_choices_may_be_text_numbers_bools_or_none() -> None:
    space = Space(
        (
            Dimension(name="keep_memory", domain=Choice(values=(True, False))),
            Dimension(name="clip_grad", domain=Choice(values=(None, 1.0, 5.0))),
            Dimension(name="augment", domain=Choice(values=("none", "light"))),
        )
    )
    points = [point(number, space) for number in range(30)]
    trials = [
        done(i, params=params, value=0.8 if params["augment"] == "light" else 0.6) for i, params in enumerate(points)
    ]
    found = importances(trials, space, ACCURACY)
    assert found["fanova"]["augment"] == pytest.approx(1, abs=1e-6)
    assert out_of_bag_score(trials, space) == pytest.approx(1, abs=0.01)


def test_a_setting_may_have_two_conditional_ranges() -> None:
    space = Space(
        (
            Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd"))),
            Dimension(name="lr", domain=FloatRange(low=1e-5, high=1e-2, log=True), condition={"optimizer": ("adamw",)}),
            Dimension(name="lr", domain=FloatRange(low=1e-3, high=1.0, log=True), condition={"optimizer": ("sgd",)}),
        )
    )
    trials = [done(i, params=point(i, space), value=0.5 + 0.01 * i) for i in range(30)]
    assert set(importances(trials, space, ACCURACY)["ped_anova"]) == {"optimizer", "lr"}


def test_the_score_tells_dependence_from_chance(forty: list[Trial], chance: list[Trial]) -> None:
    dependent, random = out_of_bag_score(forty, SPACE), out_of_bag_score(chance, SPACE)
    assert dependent is not None
    assert random is not None
    assert dependent > 0.9
    assert random < 0.1
