from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight import reports
from clearsight.core.errors import BadShape
from clearsight.reports.charts.learning import size_histogram
from clearsight.reports.dataset.page import data_page
from clearsight.reports.kit.section import PageSection, Panel, table
from clearsight.reports.run.page import sections_of
from clearsight.reports.run.report_data import RunReportData


def test_a_section_needs_only_a_key_a_title_and_a_template() -> None:
    section = PageSection(key="k", title="t", template="verdict.html")
    assert (dict(section.values), section.panels, section.tables, section.scripts) == ({}, (), (), ())


def test_every_template_is_of_use(watched: RunReportData) -> None:
    folder = Path(reports.__path__[0]) / "templates"
    used = {section.template for section in sections_of(watched)} | {"document.html", "macros.html"}
    audits = {file.name for file in folder.glob("audit_*.html")}
    compares = {file.name for file in folder.glob("compare_*.html")}
    studies = {file.name for file in folder.glob("study_*.html")}
    assert {file.name for file in folder.glob("*.html")} == used | audits | compares | studies
    scripts = {name for section in sections_of(watched) for name in section.scripts}
    assert {file.name for file in folder.glob("*.js")} == scripts | {"figures.js"}
    source = Path(data_page.__code__.co_filename).read_text(encoding="utf-8")
    assert all(name in source for name in audits)


def test_the_figure_cannot_end_the_script_that_holds_it() -> None:
    figure = size_histogram([("</script><script>alert(1)</script>", 3), ("<!--", 1)])
    panel = Panel(key="p", title="t", says="s", figure=figure, table=table("t", (), "", []))
    assert not set("<>&") & set(panel.json)
    assert json.loads(panel.json) == json.loads(figure.to_json())


def test_the_height_is_known_before_drawing() -> None:
    figure = size_histogram([("1", 3)])
    assert Panel(key="p", title="t", says="s", figure=figure, table=table("t", (), "", [])).height == 280


def test_a_table_stands_open_only_where_people_come_for_it() -> None:
    figure = size_histogram([("1", 3)])
    assert not Panel(key="p", title="t", says="s", figure=figure, table=table("t", (), "", [])).unfolded


def test_cells_are_written_out() -> None:
    made = table("Counts", ("class", "images"), "lr", [("sea", 40)])
    assert made.rows == (("sea", "40"),)
    assert [made.side(0), made.side(1)] == ["words", "number"]


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadShape, match="must have 2 cells"):
        table("Counts", ("class", "images"), "lr", [("sea",)])
    with pytest.raises(BadShape, match="must have 2 cells"):
        table("Counts", ("class", "images"), "l", [])
