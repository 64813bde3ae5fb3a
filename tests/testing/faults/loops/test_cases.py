"""Kinds of faults and cases: the parts share nothing, and every kind names rules that exist."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from clearsight.debugger.rule_parser import select_rules
from clearsight.testing.faults.loops.cases import (
    ALL_KINDS,
    DEVELOPMENT,
    DRAW_SEED,
    HELD_OUT,
    HELD_OUT_KINDS,
    KINDS,
    PARTS,
    UNSEEN,
    cases,
    draw,
    kind,
    places,
)
from clearsight.testing.faults.loops.kind import LoopFault
from clearsight.testing.faults.loops.networks import TRAITS
from clearsight.testing.faults.loops.unseen_kinds import UNSEEN_KINDS
from clearsight.testing.faults.loops.unseen_networks import UNSEEN_TRAITS

SOURCE = Path(__file__).parents[4] / "src" / "clearsight" / "testing" / "faults" / "loops"
MEASURED = ("development", "held-out", "unseen")


def test_there_are_enough_kinds_and_networks() -> None:
    assert len({fault.name for fault in ALL_KINDS}) == len(ALL_KINDS)
    assert len(KINDS) >= 55
    assert len(UNSEEN_KINDS) >= 18
    assert len({pair.network for pair in (*DEVELOPMENT, *HELD_OUT)}) >= 8
    assert len({pair.network for pair in UNSEEN}) >= 4


@pytest.mark.parametrize("field", ["style", "network", "data"])
def test_the_parts_share_nothing(field: str) -> None:
    values = [{getattr(pair, field) for pair in PARTS[part]} for part in MEASURED]
    assert all(not first & second for first, second in combinations(values, 2))


def test_the_draw_is_the_recorded_one() -> None:
    assert draw(DRAW_SEED) == HELD_OUT_KINDS
    assert abs(len(HELD_OUT_KINDS) - len(KINDS) / 3) < 1


def test_kinds_that_were_drawn_are_in_the_held_out_part_alone() -> None:
    planned = {part: {case.fault for case in cases(part)} for part in PARTS}
    assert not planned["development"] & HELD_OUT_KINDS
    assert not planned["smoke"] & HELD_OUT_KINDS
    assert planned["held-out"] >= HELD_OUT_KINDS
    assert planned["held-out"] | planned["development"] >= {fault.name for fault in KINDS}


def test_new_kinds_are_in_the_unseen_part_alone() -> None:
    new = {fault.name for fault in UNSEEN_KINDS}
    planned = {part: {case.fault for case in cases(part)} for part in PARTS}
    assert planned["unseen"] >= new
    assert not new & (planned["development"] | planned["held-out"] | planned["smoke"])


def test_the_unseen_part_has_every_kind_that_fits_once() -> None:
    faults = [case.fault for case in cases("unseen") if case.fault]
    assert len(set(faults)) == len(faults)
    assert {fault.name for fault in ALL_KINDS if places(fault, UNSEEN, 0)} == set(faults)


@pytest.mark.parametrize("part", MEASURED)
def test_a_part_has_enough_runs_of_each_sort(part: str) -> None:
    planned = cases(part)
    assert sum(not case.fault for case in planned) >= 25
    assert sum(bool(case.fault) for case in planned) >= 80
    assert len({case.key for case in planned}) == len(planned)


@pytest.mark.parametrize("part", MEASURED)
def test_every_fault_has_its_healthy_twin(part: str) -> None:
    planned = cases(part)
    healthy = {case.key for case in planned if not case.fault}
    assert {case.twin.key for case in planned if case.fault} <= healthy


@pytest.mark.parametrize("part", MEASURED)
def test_cases_of_a_kind_fit_and_differ_in_style_where_they_can(part: str) -> None:
    for place, fault in enumerate(ALL_KINDS):
        fitting = places(fault, PARTS[part], place)
        assert all(set(fault.needs) <= pair.traits and pair.style in fault.styles for pair in fitting)
        styles = {pair.style for pair in fitting}
        assert len({pair.style for pair in fitting[: len(styles)]}) == len(styles)


@pytest.mark.parametrize("fault", ALL_KINDS, ids=lambda fault: fault.name)
def test_rules_of_a_kind_exist(fault: LoopFault) -> None:
    names = {rule.name for rule in select_rules("default")}
    assert {*fault.accepted, *fault.near} <= names
    assert not set(fault.accepted) & set(fault.near)
    assert fault.source


def test_every_kind_is_planted_somewhere() -> None:
    names = ("data", "networks", "statements", "unseen_data", "unseen_networks", "unseen_statements")
    files = [*SOURCE.glob("styles/*.py"), *(SOURCE / f"{name}.py" for name in names)]
    code = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert [fault.name for fault in ALL_KINDS if not fault.settings and f'"{fault.name}"' not in code] == []


def test_traits_are_known_for_every_network() -> None:
    assert {pair.network for pair in (*DEVELOPMENT, *HELD_OUT)} <= TRAITS.keys()
    assert {pair.network for pair in UNSEEN} == UNSEEN_TRAITS.keys()


def test_an_unknown_kind() -> None:
    with pytest.raises(KeyError):
        kind("no_such_kind")
