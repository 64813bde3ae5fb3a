"""Every template and every script is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight import reports
from clearsight.reports.comparison.page import ComparisonPage
from clearsight.reports.dataset.page import DatasetPage, DatasetReportData
from clearsight.reports.kit.document import Page
from clearsight.reports.run.page import RunPage
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.study.page import StudyPage
from tests.reports.compared import compared, first
from tests.reports.study.conftest import study_report
from tests.reports.study.studied import searched
from tests.reports.watched import findings

TEMPLATES = Path(reports.__path__[0]) / "templates"


def test_every_template_and_script_is_in_use(watched: RunReportData, audit: dict[str, Any]) -> None:
    runs = [compared(name, correct=first(70), valid=0.5, more={"findings": findings()}) for name in "ab"]
    study = study_report(searched(20))
    pages: list[Page[Any]] = [
        RunPage(watched),
        StudyPage(study),
        ComparisonPage(runs),
        DatasetPage(DatasetReportData(audit=audit, extremes={"Smallest": [("a.jpg", "1 × 1")]})),
    ]
    sections = [section for page in pages for section in page.sections]
    templates = {section.template for section in sections} | {"kit/document.html", "kit/macros.html"}
    assert {file.relative_to(TEMPLATES).as_posix() for file in TEMPLATES.rglob("*.html")} == templates
    scripts = {name for section in sections for name in section.scripts}
    assert {file.name for file in TEMPLATES.rglob("*.js")} == scripts | {"figures.js"}
