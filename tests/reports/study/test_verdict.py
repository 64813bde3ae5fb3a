"""The verdict tells how the study ended, which trial is best, and how certain that is."""

from __future__ import annotations

from dataclasses import replace

from clearsight.core.trial import TrialState
from clearsight.reports.study.report_data import StudyReportData
from clearsight.reports.study.verdict import best_sentence, evaluation_sentence, trials_sentence, verdict
from tests.reports.study.conftest import study_report
from tests.reports.study.studied import done, plan


def test_trials_are_counted_by_their_state(report: StudyReportData) -> None:
    assert trials_sentence(report) == "31 trials over 7 settings: 22 complete, 7 pruned, 2 failed, in 5 min 41 s."


def test_a_study_that_stopped_early_gives_the_reason(report: StudyReportData) -> None:
    stopped = replace(report, status="stopped_early", reason="the target of 0.89 was reached.")
    assert trials_sentence(stopped).endswith(
        "; the study stopped before all trials ran (the target of 0.89 was reached)."
    )
    running = replace(report, status="running", trials=[*report.trials, replace(done(40), state=TrialState.RUNNING)])
    assert "1 running" in trials_sentence(running)


def test_the_best_trial_is_compared_with_the_median(report: StudyReportData) -> None:
    assert best_sentence(report) == (
        "The best is trial 27 with accuracy 89.9%; the median of 22 complete trials is 87.6%."
    )
    assert best_sentence(study_report([done(0)])) == "The best is trial 0 with accuracy 75.2%."


def test_with_several_objectives_it_is_on_a_front(two_objectives: StudyReportData) -> None:
    assert best_sentence(two_objectives) == (
        "The best is trial 27 with accuracy 89.9% (and 32.2 s), one of 10 trials on the Pareto front."
    )


def test_the_test_split_is_named_with_its_scores_or_as_missing(report: StudyReportData) -> None:
    assert evaluation_sentence(report) == (
        "On the test split, which no trial used, it has accuracy 89.1%, macro F1 0.889, loss 0.34."
    )
    untested = replace(report, best={**report.best, "test": None})
    assert evaluation_sentence(untested) == (
        "That is slightly optimistic, because the same validation images chose it among 22 trials; no test split was "
        "evaluated."
    )


def test_the_best_settings_and_the_next_commands_can_be_copied(report: StudyReportData) -> None:
    section = verdict(report)
    assert section.values["fix"].startswith("--lr 0.00352 --batch-size 32")
    assert section.scripts == ("copy.js",)
    assert verdict(StudyReportData(name="s", status="running", plan=plan())).scripts == ()


def test_an_unknown_best_is_found_among_the_trials(report: StudyReportData) -> None:
    assert best_sentence(replace(report, best={})) == best_sentence(report)
