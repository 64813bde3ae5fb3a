"""StudyFacts tells own trials from others and those with numbers from those without."""

from __future__ import annotations

import math
from dataclasses import replace

from clearsight.core.trial import Objective, TrialState
from clearsight.reports.study.report_data import StudyReportData
from tests.reports.study.conftest import told
from tests.reports.study.studied import broken, done, plan, stopped


def test_trials_of_earlier_studies_stand_apart(facts: StudyReportData) -> None:
    assert [trial.number for trial in facts.brought] == [31, 32]
    assert len(facts.own) == 31
    assert facts.counted(TrialState.COMPLETE) == 22


def test_only_numbers_are_ranked() -> None:
    some = told([done(0, value=0.5), done(1, value=math.nan), done(2, value=0.7), stopped(3), broken(4)])
    assert [trial.number for trial in some.ranked] == [2, 0]
    lower = replace(some, plan=plan(objectives=(Objective("loss", "minimize"),)))
    assert [trial.number for trial in lower.ranked] == [0, 2]


def test_the_best_is_the_named_one_else_the_first_of_the_ranked() -> None:
    some = told([done(0, value=0.5), done(2, value=0.7)])
    assert some.best_trial is some.trials[1]
    assert replace(some, best={"trial": 0}).best_trial is some.trials[0]
    assert replace(some, best={"trial": 9}).best_trial is some.trials[1]
    assert told([]).best_trial is None


def test_fields_come_by_weight_where_it_is_known(facts: StudyReportData) -> None:
    assert facts.weighty == ["lr", "dropout", "batch_size", "warmup", "optimizer", "epochs", "momentum"]
    assert replace(facts, importance={}).weighty == facts.plan.space.names
