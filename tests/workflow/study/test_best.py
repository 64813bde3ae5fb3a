"""Best trial of a study: made into a model once, and measured once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.executor import Assignment
from clearsight.core.recipe import Recipe
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import Study
from clearsight.core.trial import TrialState
from clearsight.testing.searchers import propose
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.study.best import best_run, deliver_best
from clearsight.workflow.study.tasks import TrialTasks
from tests.workflow.run_folders import write_run
from tests.workflow.study_folders import (
    ACCURACY,
    BETTER,
    FAILED,
    GOOD,
    PARAMETERS,
    PRUNED,
    store_of,
    trial_result,
    write_study,
)


@dataclass
class Runner:
    """In the place of a StudyRunner: keeps the assignments. failure: why each of them fails."""

    failure: str = ""
    assignments: list[Assignment] = field(default_factory=list)

    def run_assignment(self, assignment_of: Callable[[int], Assignment]) -> str:
        self.assignments.append(assignment_of(1))
        return self.failure


def deliver(study: Study, runner: Any) -> StopReason | None:
    return deliver_best(study, read_trials(study), runner, TrialTasks(study))


def test_the_best_trial_is_in_the_study_and_its_recipe_in_a_file(tmp_path: Path) -> None:
    study, runner = write_study(tmp_path / "photos", [GOOD, BETTER, PRUNED]), Runner()
    assert deliver(study, runner) is None
    params = dict(read_trials(study)[1].params)
    run = study.path / "trials" / "0001" / "run"
    expected = {"trial": 1, "value": 0.9, "values": [0.9], "params": params, "run": str(run)}
    assert study.best == Study.open(study.path).best == expected
    assert Recipe.load(study.path / "best.yaml") == study.recipe.replace(**params)
    (assignment,) = runner.assignments
    assert (assignment.deliver, [task.number for task in assignment.tasks]) == (True, [1])


def test_an_existing_model_is_not_made_again(tmp_path: Path) -> None:
    study, runner = write_study(tmp_path / "photos", [GOOD]), Runner()
    run = write_run(study.folder(0) / "run")
    assert deliver(study, runner) is None
    assert len(runner.assignments) == 1  # a run without a model is not enough
    (run.bundle / "bundle.json").write_text("{}")
    assert deliver(study, runner) is None
    assert len(runner.assignments) == 1


def test_the_best_run_is_found_where_the_study_has_been_moved(tmp_path: Path) -> None:
    study = write_study(tmp_path / "photos", [GOOD])
    write_run(study.folder(0) / "run")
    deliver(study, Runner())
    shutil.move(study.path, tmp_path / "moved")
    run = best_run(Study.open(tmp_path / "moved"))
    assert run is not None
    assert run.path == tmp_path / "moved" / "trials" / "0000" / "run"


def test_a_duplicate_has_the_model_of_its_original(tmp_path: Path) -> None:
    study, runner = write_study(tmp_path / "photos", [PRUNED]), Runner()
    store = store_of(study)
    for same_as in (None, 1):
        store.finish(replace(BETTER, number=propose(store).number), same_as=same_as)
    store.close()
    assert deliver(study, runner) is None
    assert study.best["trial"] == 1
    assert runner.assignments[0].tasks[0].number == 1


def test_without_a_complete_trial_there_is_no_model(tmp_path: Path) -> None:
    study, runner = write_study(tmp_path / "photos", [PRUNED, FAILED]), Runner()
    study.best = {"trial": 7}
    assert deliver(study, runner) is None
    assert (study.best, runner.assignments) == ({}, [])
    assert not (study.path / "best.yaml").exists()
    assert best_run(study) is None


def test_a_failed_delivery_is_the_reason_of_the_study(tmp_path: Path) -> None:
    study = write_study(tmp_path / "photos", [GOOD])
    assert deliver(study, Runner(failure="the disk is full")) == StopReason(
        StopKind.FAILURE, "the model of trial 0 could not be made: the disk is full"
    )
    assert study.best["trial"] == 0
    assert best_run(study) is None


@pytest.mark.parametrize(("values", "best"), [([(0.7, 5.0), (0.9, 50.0)], 1), ([(0.9, 50.0), (0.9, 5.0)], 0)])
def test_the_first_objective_decides_and_of_equals_the_earlier_trial(
    tmp_path: Path, values: list[tuple[float, float]], best: int
) -> None:
    results = [trial_result(TrialState.COMPLETE, *pair) for pair in values]
    study = write_study(tmp_path / "photos", results, objectives=(ACCURACY, PARAMETERS))
    deliver(study, Runner())
    assert (study.best["trial"], tuple(study.best["values"])) == (best, values[best])
