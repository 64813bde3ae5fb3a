from __future__ import annotations

import json
import math
from dataclasses import replace

from clearsight.core.finding import Finding, Series
from clearsight.reports.kit.json_export import figures_of, run_figures
from clearsight.reports.run.page import page_of, run_page, sections_of
from clearsight.reports.run.report_data import RunReportData
from tests.reports.watched import found


def test_figures_are_those_of_the_page(watched: RunReportData) -> None:
    told = run_figures(watched)
    sections = sections_of(watched)
    assert (told["name"], told["status"]) == ("scenes-frozen", "completed")
    assert list(told["sections"]) == [section.key for section in sections]
    assert told["sections"]["curves"]["title"] == "Training"
    for section in sections:
        assert list(told["sections"][section.key]["panels"]) == [panel.key for panel in section.panels]


def test_a_panel_has_its_figure_and_its_table(watched: RunReportData) -> None:
    loss = run_figures(watched)["sections"]["curves"]["panels"]["epoch-loss"]
    assert set(loss) == {"title", "says", "figure", "table"}
    assert loss["figure"]["data"][0]["y"][0] == watched.epochs[0]["train"]["loss"]
    assert loss["table"]["columns"] == ["epoch", "training", "validation"]
    assert len(loss["table"]["rows"]) == 8


def test_tables_without_a_chart_are_told_by_caption(watched: RunReportData) -> None:
    sections = run_figures(watched)["sections"]
    assert "Readings while training ran" in sections["system"]["tables"]
    assert sections["rules"]["tables"]["Every rule that was asked"]["columns"][0] == "rule"


def test_findings_come_back_as_they_were(watched: RunReportData) -> None:
    told = json.loads(json.dumps(run_figures(watched)))["findings"]
    assert [Finding.from_json(one) for one in told] == list(watched.findings)


def test_it_is_strict_json_whatever_was_measured(facts: RunReportData) -> None:
    broken = found("A", value=math.inf, evidence=(Series("loss", (1, 2), (math.nan, 1.0)),))
    steps = [{"step": 1, "epoch": 1, "mode": "train", "name": "loss", "value": math.nan}, *facts.steps]
    text = json.dumps(run_figures(replace(facts, findings=[broken], steps=steps)), allow_nan=False)
    assert json.loads(text)["findings"][0]["evidence"][0]["values"] == [None, 1.0]


def test_sections_that_were_built_once_serve_page_and_figures(facts: RunReportData) -> None:
    sections = sections_of(facts)
    assert page_of(facts, sections) == run_page(facts)
    assert figures_of(facts, sections) == run_figures(facts)


def test_a_run_that_knows_nothing_has_figures() -> None:
    told = run_figures(RunReportData(name="r", status="running"))
    assert told["sections"]["verdict"] == {"title": "Verdict", "panels": {}, "tables": {}}
    assert told["findings"] == []
