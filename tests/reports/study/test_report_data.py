"""StudyReportData separates the study's own trials from imported ones, and finite values from others."""

from __future__ import annotations

import math
from dataclasses import replace

from clearsight.core.trial import Objective, TrialState
from clearsight.reports.study.report_data import StudyReportData
from tests.reports.study.conftest import study_report
from tests.reports.study.studied import broken, done, plan, stopped


def test_trials_of_earlier_studies_are_separate(report: StudyReportData) -> None:
    assert [trial.number for trial in report.imported_trials] == [31, 32]
    assert len(report.own_trials) == 31
    assert report.count(TrialState.COMPLETE) == 22


def test_only_trials_with_finite_values_are_ranked() -> None:
    some = study_report([done(0, value=0.5), done(1, value=math.nan), done(2, value=0.7), stopped(3), broken(4)])
    assert [trial.number for trial in some.ranked] == [2, 0]
    lower = replace(some, plan=plan(objectives=(Objective("loss", "minimize"),)))
    assert [trial.number for trial in lower.ranked] == [0, 2]


def test_the_best_trial_is_the_one_that_best_names_else_the_first_of_the_ranked() -> None:
    some = study_report([done(0, value=0.5), done(2, value=0.7)])
    assert some.best_trial is some.trials[1]
    assert replace(some, best={"trial": 0}).best_trial is some.trials[0]
    assert replace(some, best={"trial": 9}).best_trial is some.trials[1]
    assert study_report([]).best_trial is None


def test_settings_are_sorted_by_importance_where_it_is_known(report: StudyReportData) -> None:
    assert report.settings_by_importance == ["lr", "dropout", "batch_size", "warmup", "optimizer", "epochs", "momentum"]
    assert replace(report, importance={}).settings_by_importance == report.plan.space.names
