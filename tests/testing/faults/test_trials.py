"""Recorded runs: the hook changes nothing, records stay, and judging needs no training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clearsight.core.rule import Rule
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.testing.faults.loop import train
from clearsight.testing.faults.setup import FaultSetup
from clearsight.testing.faults.trials import Case, FaultDiagnosis, diagnose, record, recorded_run, repaired

RULES: list[Rule] = select_rules("FrozenByMistake,LearningRateTooHigh,LossOnProbabilities")


@pytest.fixture
def case(setup: FaultSetup) -> Case:
    return Case(name="healthy-base", setup=setup.changed(epochs=2))


def test_watching_changes_nothing(case: Case, tmp_path: Path) -> None:
    curves = recorded_run(case.setup, tmp_path / "run", tmp_path, RULES)
    assert replace(curves, seconds=0) == replace(train(case.setup, tmp_path), seconds=0)


def test_the_record_matches_the_loop(case: Case, tmp_path: Path) -> None:
    score = record(case, tmp_path, tmp_path, RULES)
    tape = SavedRun(tmp_path / "runs" / case.key).tape()
    assert tape.done() == score.steps
    assert tape.evaluations().valid_accuracy == pytest.approx(score.accuracies)
    assert tape.context.batch_size == 32


def test_a_second_time_is_read_from_disk(case: Case, tmp_path: Path) -> None:
    once = record(case, tmp_path, tmp_path, RULES)
    assert record(case, tmp_path, tmp_path, RULES) == once  # the seconds too
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
    score = record(faulty, tmp_path, tmp_path, RULES)
    root_causes = diagnose(faulty, tmp_path, RULES)
    assert root_causes.named([rule], top=1)
    assert (root_causes.step([rule]) or score.steps) < score.steps


def test_a_healthy_run_has_no_root_causes(case: Case, tmp_path: Path) -> None:
    record(case, tmp_path, tmp_path, RULES)
    root_causes = diagnose(case, tmp_path, RULES)
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
