"""The page of a study starts with the verdict, whatever the study is like, and opens offline."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.trial import Trial, TrialState
from clearsight.reports.study.page import StudyPage
from clearsight.reports.study.report_data import StudyReportData
from tests.reports.comparison.test_page import NARROW
from tests.reports.conftest import HOSTILE, Opened
from tests.reports.outline import Outline
from tests.reports.study.conftest import study_report
from tests.reports.study.studied import accuracy, broken, done, plan, point, searched, stopped

MB = 1_000_000


@pytest.fixture(scope="module")
def page(report: StudyReportData) -> str:
    return StudyPage(report).render()


@pytest.fixture(scope="module")
def hostile(report: StudyReportData) -> StudyReportData:
    """A study with a name in every place that tries to break out of it."""
    names = Choice(values=HOSTILE)
    space = Space((*plan().space.dimensions[:3], Dimension(name="model", domain=names)))
    trials = [
        replace(done(i, params={**point(i, space), "model": HOSTILE[i % 6]}), reason=HOSTILE[i % 6]) for i in range(12)
    ]
    trials += [stopped(12, reason=HOSTILE[0]), broken(13, reason=HOSTILE[1]), replace(done(14), source=HOSTILE[2])]
    return replace(
        report,
        name=HOSTILE[0],
        reason=HOSTILE[1],
        status="interrupted",
        plan=plan(space, warm_start=(HOSTILE[0],), searcher=HOSTILE[1]),
        trials=trials,
        recipe=f"model: {HOSTILE[0]}",
        best={"trial": 3, "params": trials[3].params, "run": HOSTILE[1], "test": None},
        importance={"fanova": {"model": 0.5, "lr": 0.2}, "ped_anova": {HOSTILE[0]: 1.0}},
        advice=HOSTILE,
        next=HOSTILE,
        data={"path": HOSTILE[0]},
        versions={HOSTILE[0]: HOSTILE[1]},
        hardware={HOSTILE[0]: HOSTILE[1]},
        command=HOSTILE,
    )


def titles(report: StudyReportData) -> list[str]:
    return [text for level, text in Outline(StudyPage(report).render()).headings if level == 2]


def test_sections_are_in_the_order_of_reading(two_objectives: StudyReportData) -> None:
    assert titles(two_objectives) == [
        "Verdict",
        "Trials",
        "History",
        "Pareto front",
        "Importance",
        "Slices",
        "Contours",
        "Parallel coordinates",
        "Curves",
        "Timeline",
        "Saved",
        "Provenance",
    ]
    assert len(titles(two_objectives)) == len(StudyPage.SECTIONS)


def test_a_single_objective_has_no_front(report: StudyReportData) -> None:
    assert "Pareto front" not in titles(report)


def test_verdict_advice_and_commands_come_first(page: str) -> None:
    text = " ".join(Outline(page).text.split())
    words = ("31 trials over 7 settings", "The best is trial 27", "explains 71%", "--resume studies/scenes-search")
    places = [text.index(word) for word in (*words, "The best trials")]
    assert places == sorted(places)


def test_headings_never_skip_a_level(page: str) -> None:
    levels = [level for level, _ in Outline(page).headings]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_a_screen_reader_can_use_it_and_it_loads_nothing(report: StudyReportData, page: str) -> None:
    seen = Outline(page)
    charts = [tag for tag in seen.all("div") if tag.get("class") == "chart"]
    assert len(charts) == sum(len(section.panels) for section in StudyPage(report).sections) == 13
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert len(seen.all("caption")) == len(seen.all("table"))
    assert all(address.startswith("data:") for address in seen.loads())
    keys = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(keys) == len(set(keys))


def test_the_same_data_give_the_same_bytes(report: StudyReportData, page: str) -> None:
    assert StudyPage(report).render() == page


def test_every_chart_has_the_table_of_its_numbers(report: StudyReportData) -> None:
    for section in StudyPage(report).sections:
        assert all(panel.table.rows and len(panel.table.rows) <= 60 for panel in section.panels)


def test_names_and_values_are_never_markup(hostile: StudyReportData, two_objectives: StudyReportData) -> None:
    seen, usual = Outline(StudyPage(hostile).render()), Outline(StudyPage(two_objectives).render())
    assert {name for name, _ in seen.tags} <= {name for name, _ in usual.tags}
    assert all(name in seen.text for name in HOSTILE)


def test_labels_of_figures_are_never_markup(hostile: StudyReportData) -> None:
    for section in StudyPage(hostile).sections:
        for panel in section.panels:
            assert "<script" not in panel.json
            labels = [*(panel.figure.layout.xaxis.ticktext or ()), *(panel.figure.layout.yaxis.ticktext or ())]
            labels += [note.text for note in panel.figure.layout.annotations]
            assert not any("<" in str(label) for label in labels)


def test_a_study_that_has_just_started_has_a_page() -> None:
    nothing = StudyReportData(name="s", status="running", plan=plan())
    assert titles(nothing) == ["Verdict", "Provenance"]
    assert "no trial has started" in StudyPage(nothing).render()


def test_a_study_without_a_complete_trial_has_no_best() -> None:
    begun = Trial(number=3, state=TrialState.RUNNING, params=point(3), curve={1: 0.5})
    lost = replace(study_report([stopped(0), broken(1), stopped(2), begun]), status="running", importance={}, saved={})
    assert titles(lost) == ["Verdict", "Trials", "History", "Curves", "Timeline", "Provenance"]
    text = " ".join(Outline(StudyPage(lost).render()).text.split())
    assert "0 complete" not in text
    assert "2 pruned, 1 failed, 1 running" in text
    assert "No trial is complete yet, so there is no best trial." in text


def test_one_trial_has_a_page() -> None:
    single = replace(study_report([done(0)]), importance={}, saved={})
    assert titles(single) == ["Verdict", "Trials", "History", "Slices", "Curves", "Timeline", "Provenance"]


def test_values_that_are_not_finite_are_shown_and_exported(two_objectives: StudyReportData) -> None:
    odd = [
        done(0, value=math.nan),
        done(1, value=math.inf),
        done(2, value=-math.inf),
        replace(done(3), curve={1: math.nan, 2: math.inf}),
        replace(done(4), scores={"loss": math.nan}),
        replace(stopped(5), curve={1: math.nan}),
    ]
    some = study_report([*odd, done(6), done(7)])
    for section in StudyPage(replace(some, best={})).sections:
        assert all(json.loads(panel.json, parse_constant=pytest.fail) for panel in section.panels)
    both = [replace(trial, values=(*trial.values, math.nan)) if trial.values else trial for trial in odd]
    mixed = replace(two_objectives, trials=[*both, *two_objectives.trials[6:]], best={})
    json.dumps(StudyPage(mixed).to_json(), allow_nan=False)


def test_a_choice_alone_has_slices_but_no_map() -> None:
    space = Space((Dimension(name="augment", domain=Choice(values=("none", "light", None, True))),))
    trials = [done(i, params={"augment": value}, value=0.5 + i / 10) for i, value in enumerate(("none", None, True))]
    seen = titles(replace(study_report(trials), plan=plan(space)))
    assert "Slices" in seen
    assert "Contours" not in seen
    assert "Parallel coordinates" not in seen


def test_five_hundred_trials_stay_small() -> None:
    space = plan().space
    many = [
        replace(
            trial,
            started=1e9 + 3 * trial.number,
            worker=trial.number % 8,
            curve={e: trial.curve.get(1, 0.5) + e / 1000 for e in range(1, 101)} if trial.curve else {},
        )
        for trial in searched(500)
    ]
    whole = replace(study_report(many), plan=plan(space, trials=500, parallel=8), data={}, importance={})
    text = StudyPage(whole).render()
    assert len(text.encode()) < 7.5 * MB
    assert sum(len(panel.table.rows) for section in StudyPage(whole).sections for panel in section.panels) < 700


def test_trials_outside_a_narrower_range_still_have_a_position() -> None:
    narrow = Space(
        (Dimension(name="lr", domain=FloatRange(low=1e-3, high=1e-2, log=True)), *plan().space.dimensions[1:])
    )
    section = next(
        section
        for section in StudyPage(replace(study_report(searched(20)), plan=plan(narrow))).sections
        if section.key == "slices"
    )
    low, high = section.panels[0].figure.layout.xaxis.range
    assert low < math.log10(1.2e-5)
    assert high > math.log10(2.8e-2)


def test_the_json_has_the_sections_of_the_page_and_every_trial(report: StudyReportData) -> None:
    page = StudyPage(report)
    values = page.to_json()
    assert list(values["sections"]) == [section.key for section in page.sections]
    read = json.loads(json.dumps(values, allow_nan=False))
    assert read["best"]["trial"] == 27
    assert read["trials"][27]["values"] == [accuracy(point(27))]
    assert read["importance"]["fanova"]["lr"] == 0.71
    assert "study-slice-lr" in read["sections"]["slices"]["panels"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_it_offline_and_without_complaint(
    page: str, report: StudyReportData, opened: Callable[..., Opened], scheme: str
) -> None:
    seen = opened(page, color_scheme=scheme)
    assert seen.messages == []
    assert seen.requests == []
    drawn = sum(len(section.panels) for section in StudyPage(report).sections)
    assert seen.page.locator(".js-plotly-plot").count() == drawn
    assert seen.page.locator("#study-curves .legendtext").all_text_contents() == [
        "complete",
        "pruned",
        "best (trial 27)",
    ]
    seen.page.set_viewport_size({"width": 390, "height": 800})
    assert seen.page.evaluate(NARROW)


def test_trials_that_are_all_equal_are_drawn_too(opened: Callable[..., Opened]) -> None:
    alike = study_report([replace(done(i, value=0.5), started=0.0 if i else 1e9) for i in range(12)])
    assert opened(StudyPage(alike).render()).messages == []


def test_hostile_names_do_nothing_in_a_browser(hostile: StudyReportData, opened: Callable[..., Opened]) -> None:
    seen = opened(StudyPage(hostile).render())
    assert seen.messages == []
    assert seen.requests == []
    ticks = seen.page.locator("#study-slice-model .ytick").all_text_contents()
    assert "a&lt;b" in ticks
    assert "<script>" in "".join(ticks)
