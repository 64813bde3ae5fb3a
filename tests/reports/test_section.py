from __future__ import annotations

from pathlib import Path

from clearsight import reports
from clearsight.reports.data_page import data_page
from clearsight.reports.facts import RunReportData
from clearsight.reports.page import sections_of
from clearsight.reports.section import PageSection


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
