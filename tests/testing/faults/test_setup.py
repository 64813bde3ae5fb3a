"""Setups change as values, and a fix never removes a fault in code."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from clearsight.core.errors import BadChoice
from clearsight.core.recipe import fields
from clearsight.testing.faults.setup import HONOURED, Fault, FaultScore, FaultSetup


def test_a_change_leaves_the_old_one_alone(setup: FaultSetup) -> None:
    assert setup.changed(lr=0.5).recipe.optim.lr == 0.5
    assert setup.recipe.optim.lr != 0.5


def test_a_fix_keeps_the_plant(setup: FaultSetup) -> None:
    assert replace(setup, plant="missing_zero_grad").changed(lr=1e-4).plant == "missing_zero_grad"


def test_a_fix_names_recipe_fields(setup: FaultSetup) -> None:
    with pytest.raises(BadChoice):
        setup.changed(learning=1e-3)


def test_settings_of_the_loop_are_in_the_recipe() -> None:
    assert {name for _, name, _ in fields()} >= HONOURED


def test_a_fault_fits_the_networks_it_names(setup: FaultSetup) -> None:
    fault = Fault(name="x", description="", expected=("DeadRelu",), apply=lambda setup: setup, networks=("resnet18",))
    assert not fault.fits(setup)
    assert fault.fits(replace(setup, network="resnet18"))


def test_a_score_survives_json() -> None:
    score = FaultScore(accuracy=0.5, loss=1.0, honest=0.4, steps=3, seconds=0.1, accuracies=(0.5,), losses=(1.0,))
    assert FaultScore.from_json({**asdict(score), "accuracies": [0.5], "losses": [1.0]}) == score
