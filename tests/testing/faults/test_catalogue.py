"""Planted faults: each changes something, is expected by a rule that exists, and fits somewhere in both parts."""

from __future__ import annotations

import pytest

from clearsight.debugger.rules import RULES
from clearsight.testing.faults.catalogue import FAULTS, fault
from clearsight.testing.faults.healthy import DEVELOPMENT, HELD_OUT, base
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
