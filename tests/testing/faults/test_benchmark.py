"""The benchmark end to end on its smallest part: train, judge, repair."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from clearsight.core.rule import Rule
from clearsight.debugger.rule_parser import select_rules
from clearsight.testing.faults.benchmark import Planned, Result, cases, examine, quality, target
from clearsight.testing.faults.catalogue import fault
from clearsight.testing.faults.setup import FaultScore
from clearsight.testing.faults.table import alarms, missed

SCORE = FaultScore(
    accuracy=0.5, loss=2.0, honest=0.4, steps=3, seconds=1.0, accuracies=(0.4, 0.6, 0.5), losses=(2.0, 1.0, 2.0)
)


@pytest.fixture
def rules() -> list[Rule]:
    return select_rules("default")


def planned(name: str) -> Planned:
    return next(each for each in cases("smoke", 1, 1) if each.case.name == name)


@pytest.mark.parametrize("part", ["development", "held-out"])
def test_there_are_as_many_healthy_runs_as_faulty_ones(part: str) -> None:
    count = Counter(bool(each.case.fault) for each in cases(part))
    assert count[False] >= count[True] > 100


def test_every_run_has_a_key_of_its_own() -> None:
    keys = [each.case.key for part in ("development", "held-out") for each in cases(part)]
    assert len(set(keys)) == len(keys)


def test_a_healthy_run(tmp_path: Path, rules: list[Rule]) -> None:
    result = examine(planned("healthy-base"), tmp_path, tmp_path, rules)
    assert result.root_causes == ()
    assert result.accuracy > 0.8
    assert Result.from_json(json.loads(json.dumps(asdict(result)))) == result


def test_a_result_of_an_earlier_version_is_read() -> None:
    result = Result(
        key="k",
        name="lr_x100",
        pair=("small_cnn", "digits"),
        seed=0,
        faulty=True,
        accuracy=0.5,
        loss=1.0,
        honest=0.5,
        steps=80,
        seconds=1.0,
        root_causes=("Overfit",),
        interim=((40, ()), (80, ("Overfit",))),
    )
    names = {"root_causes": "told", "interim": "looks"}
    earlier = {names.get(name, name): value for name, value in asdict(result).items()}
    assert Result.from_json(json.loads(json.dumps(earlier))) == result


def test_a_fault_is_named_and_repaired(tmp_path: Path, rules: list[Rule]) -> None:
    result = examine(planned("lr_x100"), tmp_path, tmp_path, rules)
    assert result.root_causes[0] == "LearningRateTooHigh"
    assert result.harm is not None
    assert result.harm > 0.3
    assert result.repaired
    assert "lr" in result.fixes[0]


def test_judging_again_makes_no_run(tmp_path: Path, rules: list[Rule]) -> None:
    once = examine(planned("zero_init"), tmp_path, tmp_path, rules)
    runs = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert examine(planned("zero_init"), tmp_path, tmp_path, rules) == once
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()} == runs


def test_quality_is_the_score_that_the_fault_spoils() -> None:
    assert quality(fault("lr_x100"), SCORE) == 0.5
    assert quality(fault("overtraining"), SCORE) == -2.0
    assert quality(fault("leaked_validation"), SCORE) == pytest.approx(-0.1)


def test_the_target_of_a_spoilt_loss_is_its_own_best_epoch() -> None:
    assert target(fault("overtraining"), SCORE, SCORE).loss == 1.0
    assert target(fault("lr_x100"), SCORE, SCORE) is SCORE


@pytest.mark.slow
def test_the_smallest_part(tmp_path: Path, shared: Path, rules: list[Rule]) -> None:
    results = [examine(each, tmp_path, shared, rules) for each in cases("smoke", 1, 1)]
    faulty = [result for result in results if result.faulty]
    assert alarms(results)[0] == 0
    assert len(missed(results)) <= len(faulty) / 4
    hurt = [result for result in faulty if result.harm is not None and result.harm > 0.02]
    assert len(hurt) >= 0.9 * len(faulty)
