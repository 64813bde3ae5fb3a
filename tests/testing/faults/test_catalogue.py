"""Planted faults: each changes something, is expected by a rule, fits in both parts; healthy runs vary."""

from __future__ import annotations

import pytest

from clearsight.debugger.rules import RULES
from clearsight.testing.faults.catalogue import DEVELOPMENT, FAULTS, HELD_OUT, base, controls, fault
from clearsight.testing.faults.setup import Fault

IDS = [fault.name for fault in FAULTS]


def test_names_are_unique() -> None:
    assert len(set(IDS)) == len(IDS) == 21


@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
def test_expected_rules_exist(fault: Fault) -> None:
    assert fault.expected
    assert set(fault.expected) <= set(RULES.names())


@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
def test_something_changes_wherever_it_fits(fault: Fault) -> None:
    setups = [base(pair, 3) for pair in (*DEVELOPMENT, *HELD_OUT) if fault.fits(base(pair, 3))]
    assert all(fault.apply(setup) != setup for setup in setups)
    assert all(fault.apply(setup).seed == 3 for setup in setups)


@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
@pytest.mark.parametrize("part", [DEVELOPMENT, HELD_OUT], ids=["development", "held-out"])
def test_it_fits_in_both_parts(fault: Fault, part: list[tuple[str, str]]) -> None:
    assert any(fault.fits(base(pair, 0)) for pair in part)


def test_by_name() -> None:
    assert fault("zero_init").name == "zero_init"


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
    assert {recipe.optim.resolved_schedule for recipe in recipes} == {"cosine", "constant", "step"}
    assert {recipe.train.batch_size for recipe in recipes} == {16, 32, 64}
    assert {recipe.model.resolved_freeze for recipe in recipes} == {"none", "backbone"}
