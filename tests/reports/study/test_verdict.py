"""The verdict says how the study went, what is best, and how far to believe it."""

from __future__ import annotations

from dataclasses import replace

from clearsight.core.trial import TrialState
from clearsight.reports.study.report_data import StudyReportData
from clearsight.reports.study.verdict import good, on_test_split, searched, verdict
from tests.reports.study.conftest import told
from tests.reports.study.studied import done, plan


def test_trials_are_counted_by_how_they_ended(facts: StudyReportData) -> None:
    assert searched(facts) == "31 trials over 7 settings: 22 complete, 7 pruned, 2 failed, in 5 min 41 s."


def test_an_end_before_the_plan_is_said_with_its_reason(facts: StudyReportData) -> None:
    stopped = replace(facts, status="stopped_early", reason="the target of 0.89 was reached.")
    assert searched(stopped).endswith("; the study ended before all was tried (the target of 0.89 was reached).")
    running = replace(facts, status="running", trials=[*facts.trials, replace(done(40), state=TrialState.RUNNING)])
    assert "1 under way" in searched(running)


def test_the_best_stands_against_the_middle(facts: StudyReportData) -> None:
    assert good(facts) == "The best is trial 27 with accuracy 89.9%; the middle one of 22 complete trials has 87.6%."
    assert good(told([done(0)])) == "The best is trial 0 with accuracy 75.2%."


def test_with_several_objectives_it_stands_on_a_front(two_aims: StudyReportData) -> None:
    assert (
        good(two_aims) == "The best is trial 27 with accuracy 89.9% (and 32.2 s), one of 10 trials on the Pareto front."
    )


def test_the_test_split_has_the_last_word(facts: StudyReportData) -> None:
    assert (
        on_test_split(facts)
        == "On the test split, which no trial saw, it has accuracy 89.1%, macro F1 0.889, loss 0.34."
    )
    untested = replace(facts, best={**facts.best, "test": None})
    assert "a little flattering, since the same validation images chose it among 22 trials" in on_test_split(untested)


def test_the_best_recipe_and_what_to_type_can_be_copied(facts: StudyReportData) -> None:
    section = verdict(facts)
    assert section.values["fix"].startswith("--lr 0.00352 --batch-size 32")
    assert section.scripts == ("copy.js",)
    assert verdict(StudyReportData(name="s", status="running", plan=plan())).scripts == ()


def test_an_unknown_best_is_found_among_the_trials(facts: StudyReportData) -> None:
    assert good(replace(facts, best={})) == good(facts)
