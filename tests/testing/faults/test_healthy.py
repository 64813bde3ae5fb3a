"""Healthy runs: parts that share no network, and sound variations."""

from __future__ import annotations

import pytest

from clearsight.testing.faults.healthy import DEVELOPMENT, HELD_OUT, base, controls


def test_parts_share_no_network() -> None:
    assert not {network for network, _ in DEVELOPMENT} & {network for network, _ in HELD_OUT}


def test_cifar_is_held_out() -> None:
    assert "cifar-10" not in {data for _, data in DEVELOPMENT}
    assert "cifar-10" in {data for _, data in HELD_OUT}


@pytest.mark.parametrize("pair", [*DEVELOPMENT, *HELD_OUT], ids="-".join)
def test_variations_differ_and_plant_nothing(pair: tuple[str, str]) -> None:
    setups = list(controls(pair, 1).values())
    assert all(setup.plant == "" for setup in setups)
    assert all(setup != other for i, setup in enumerate(setups) for other in setups[:i])


def test_the_base_is_among_the_controls() -> None:
    assert controls(DEVELOPMENT[0], 2)["base"] == base(DEVELOPMENT[0], 2)


def test_variations_are_of_different_optimizers_sizes_and_schedules() -> None:
    recipes = [setup.recipe for setup in controls(("mobilenetv2", "digits"), 0).values()]
    assert {recipe.optim.optimizer for recipe in recipes} == {"adamw", "adam", "sgd"}
    assert {recipe.optim.schedule for recipe in recipes} == {"cosine", "constant", "step"}
    assert {recipe.train.batch_size for recipe in recipes} == {16, 32, 64}
    assert {recipe.model.freeze for recipe in recipes} == {"none", "backbone"}
