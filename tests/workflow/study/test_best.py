"""The best trial is made into a model once, and measured once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.executor import Assignment
from clearsight.core.recipe import Recipe
from clearsight.core.study import Study
from clearsight.core.trial import TrialResult, TrialState
from clearsight.testing.searchers import proposed
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.study.best import best_run, deliver_best
from clearsight.workflow.study.tasks import TrialTasks
from tests.workflow.made_runs import made_run
from tests.workflow.made_studies import ACCURACY, BETTER, BROKEN, CUT, GOOD, PARAMETERS, came_to, ledger_of, made_study


@dataclass
class Carrier:
    """In the place of a conductor: keeps what it was to carry out."""

    fails: str = ""
    given: list[Assignment] = field(default_factory=list)

    def carry_out(self, assignment_of: Callable[[int], Assignment]) -> str:
        self.given.append(assignment_of(1))
        return self.fails


def delivered(study: Study, carrier: Any) -> str:
    return deliver_best(study, read_trials(study), carrier, TrialTasks(study))


def test_the_best_is_noted_and_its_recipe_written(tmp_path: Path) -> None:
    study, carrier = made_study(tmp_path / "photos", [GOOD, BETTER, CUT]), Carrier()
    assert delivered(study, carrier) == ""
    params = dict(read_trials(study)[1].params)
    run = study.path / "trials" / "0001" / "run"
    wanted = {"trial": 1, "value": 0.9, "values": [0.9], "params": params, "run": str(run)}
    assert study.best == Study.open(study.path).best == wanted
    assert Recipe.load(study.path / "best.yaml") == study.recipe.replace(**params)
    (assignment,) = carrier.given
    assert (assignment.deliver, [task.number for task in assignment.tasks]) == (True, [1])


def test_a_model_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    study, carrier = made_study(tmp_path / "photos", [GOOD]), Carrier()
    run = made_run(study.folder(0) / "run")
    assert delivered(study, carrier) == ""
    assert len(carrier.given) == 1  # a run without a model is none
    (run.bundle / "bundle.json").write_text("{}")
    assert delivered(study, carrier) == ""
    assert len(carrier.given) == 1
    found = best_run(study)
    assert found is not None
    assert found.path == run.path


def test_an_answered_trial_has_the_model_of_the_one_that_answered(tmp_path: Path) -> None:
    study, carrier = made_study(tmp_path / "photos", [CUT]), Carrier()
    ledger = ledger_of(study)
    for same in (None, 1):
        number = proposed(ledger).number
        told = {**{name: getattr(BETTER, name) for name in BETTER.__slots__}, "number": number}
        ledger.finish(TrialResult(**told), same_as=same)
    ledger.close()
    assert delivered(study, carrier) == ""
    assert study.best["trial"] == 1
    assert carrier.given[0].tasks[0].number == 1


def test_without_a_complete_trial_nothing_is_made(tmp_path: Path) -> None:
    study, carrier = made_study(tmp_path / "photos", [CUT, BROKEN]), Carrier()
    study.best = {"trial": 7}
    assert delivered(study, carrier) == ""
    assert (study.best, carrier.given) == ({}, [])
    assert not (study.path / "best.yaml").exists()
    assert best_run(study) is None


def test_a_model_that_could_not_be_made_is_said(tmp_path: Path) -> None:
    study = made_study(tmp_path / "photos", [GOOD])
    assert delivered(study, Carrier(fails="the disk is full")) == (
        "the model of trial 0 could not be made: the disk is full"
    )
    assert study.best["trial"] == 0
    assert best_run(study) is None


@pytest.mark.parametrize(("values", "best"), [([(0.7, 5.0), (0.9, 50.0)], 1), ([(0.9, 50.0), (0.9, 5.0)], 0)])
def test_the_first_objective_picks_and_the_earlier_of_equals(
    tmp_path: Path, values: list[tuple[float, float]], best: int
) -> None:
    outcomes = [came_to(TrialState.COMPLETE, *each) for each in values]
    study = made_study(tmp_path / "photos", outcomes, objectives=(ACCURACY, PARAMETERS))
    delivered(study, Carrier())
    assert (study.best["trial"], tuple(study.best["values"])) == (best, values[best])
