"""Learning rates that people start from, per optimizer, and for a new head."""

from __future__ import annotations

import math

import pytest

from clearsight.core.learning_rates import head_rate, highest_usual_rate, optimizer_family, usual_rate
from clearsight.core.recipe import OptimSection, Recipe


@pytest.mark.parametrize(
    ("optimizer", "family"),
    [("adamw", "adaptive"), ("Adam", "adaptive"), ("RMSprop", "adaptive"), ("SGD", "gradient"), ("", ""), ("Own", "")],
)
def test_the_family_follows_from_the_name(optimizer: str, family: str) -> None:
    assert optimizer_family(optimizer) == family


def test_usual_rates() -> None:
    assert (usual_rate("adam"), usual_rate("sgd"), usual_rate("")) == (1e-3, 1e-2, 1e-3)


def test_no_rate_is_too_high_for_an_unknown_optimizer() -> None:
    assert highest_usual_rate("sgd") > highest_usual_rate("adamw")
    assert highest_usual_rate("") == math.inf


@pytest.mark.parametrize(("steps", "rate"), [(60, 5e-3), (300, 2e-3), (10_000, 1e-3), (0, 5e-3)])
def test_a_head_gets_a_higher_rate_in_few_steps(steps: int, rate: float) -> None:
    assert head_rate("adamw", steps) == pytest.approx(rate)


def test_sgd_trains_a_head_at_its_usual_rate() -> None:
    assert head_rate("sgd", 10) == usual_rate("sgd")


def test_an_unset_rate_of_a_recipe_is_the_usual_one() -> None:
    assert OptimSection(optimizer="sgd").resolved_lr == 1e-2
    assert OptimSection(optimizer="adam").resolved_lr == 1e-3
    assert OptimSection(lr=0.5).resolved_lr == 0.5


def test_the_help_of_the_recipe_names_the_same_rates() -> None:
    help_text = type(Recipe().optim).model_fields["lr"].description
    assert help_text is not None
    assert "0.01 for sgd, else 0.001, and up to 0.005" in help_text
