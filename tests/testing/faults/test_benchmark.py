"""The benchmark end to end on its smallest part: train, judge, repair. Watching changes nothing, and records stay."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from clearsight.core.rule import Rule
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.testing.faults.benchmark import (
    Case,
    FaultDiagnosis,
    Result,
    cases,
    diagnose,
    examine,
    quality,
    record,
    recorded_run,
    repaired,
    target,
)
from clearsight.testing.faults.catalogue import fault
from clearsight.testing.faults.loop import train
from clearsight.testing.faults.setup import FaultScore, FaultSetup
from clearsight.testing.faults.table import alarms, missed

FEW_RULES: list[Rule] = select_rules("FrozenByMistake,LearningRateTooHigh,LossOnProbabilities")
SCORE = FaultScore(
    accuracy=0.5, loss=2.0, honest=0.4, steps=3, seconds=1.0, accuracies=(0.4, 0.6, 0.5), losses=(2.0, 1.0, 2.0)
)


@pytest.fixture
def rules() -> list[Rule]:
    return select_rules("default")


def planned(name: str) -> Case:
    return next(case for case in cases("smoke", 1, 1) if case.name == name)


@pytest.mark.parametrize("part", ["development", "held-out"])
def test_there_are_as_many_healthy_runs_as_faulty_ones(part: str) -> None:
    count = Counter(bool(case.fault) for case in cases(part))
    assert count[False] >= count[True] > 100


def test_every_run_has_a_key_of_its_own() -> None:
    keys = [case.key for part in ("development", "held-out") for case in cases(part)]
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
    results = [examine(each, tmp_path, shared, rules) for each in list(cases("smoke", 1, 1))[::3]]
    faulty = [result for result in results if result.faulty]
    assert alarms(results)[0] == 0
    assert len(missed(results)) <= len(faulty) / 4
    hurt = [result for result in faulty if result.harm is not None and result.harm > 0.02]
    assert len(hurt) >= 0.9 * len(faulty)


@pytest.fixture
def case(setup: FaultSetup) -> Case:
    return Case(name="healthy-base", pair=("plain_cnn", "digits"), setup=setup.changed(epochs=2))


def test_watching_changes_nothing(case: Case, tmp_path: Path) -> None:
    curves = recorded_run(case.setup, tmp_path / "run", tmp_path, FEW_RULES)
    assert replace(curves, seconds=0) == replace(train(case.setup, tmp_path), seconds=0)


def test_the_record_matches_the_loop(case: Case, tmp_path: Path) -> None:
    score = record(case, tmp_path, tmp_path, FEW_RULES)
    tape = SavedRun(tmp_path / "runs" / case.key).tape()
    assert tape.done() == score.steps
    assert tape.evaluations().valid_accuracy == pytest.approx(score.accuracies)
    assert tape.context.batch_size == 32


def test_a_second_time_is_read_from_disk(case: Case, tmp_path: Path) -> None:
    once = record(case, tmp_path, tmp_path, FEW_RULES)
    assert record(case, tmp_path, tmp_path, FEW_RULES) == once  # the seconds too
    assert not list((tmp_path / "making").iterdir())


def test_keys_of_setups_differ(case: Case) -> None:
    others = [
        replace(case, setup=case.setup.changed(lr=0.5)),
        replace(case, setup=replace(case.setup, plant="zero_init")),
    ]
    assert len({case.key, *(other.key for other in others)}) == 3


@pytest.mark.parametrize(
    ("plant", "rule"), [("everything_frozen", "FrozenByMistake"), ("loss_on_softmax", "LossOnProbabilities")]
)
def test_a_plant_is_named_early_and_at_the_end(case: Case, tmp_path: Path, plant: str, rule: str) -> None:
    faulty = replace(case, setup=replace(case.setup, plant=plant).changed(epochs=4))
    score = record(faulty, tmp_path, tmp_path, FEW_RULES)
    root_causes = diagnose(faulty, tmp_path, FEW_RULES)
    assert root_causes.named([rule], top=1)
    assert (root_causes.step([rule]) or score.steps) < score.steps


def test_a_healthy_run_has_no_root_causes(case: Case, tmp_path: Path) -> None:
    record(case, tmp_path, tmp_path, FEW_RULES)
    root_causes = diagnose(case, tmp_path, FEW_RULES)
    assert root_causes.root_causes == ()
    assert [step for step, _ in root_causes.interim] == list(range(1, 11))


def test_the_fix_is_the_first_that_the_loop_obeys() -> None:
    fixes = ({}, {"precision": "fp32"}, {"lr": 1e-3, "dropout": 0.1})
    assert FaultDiagnosis(root_causes=("A", "B", "C"), fixes=fixes).fix() == {"lr": 1e-3}


def test_a_fix_that_changes_nothing_is_none(case: Case) -> None:
    assert repaired(case, {"lr": case.setup.recipe.optim.lr}) is None
    assert repaired(case, {"lr": -1}) is None
    better = repaired(case, {"lr": 0.5})
    assert better is not None
    assert better.setup.recipe.optim.lr == 0.5
