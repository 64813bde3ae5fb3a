"""Page of a run: one self-contained HTML file that can be read in a minute, printed, and opened offline."""

from __future__ import annotations

from typing import Any

from clearsight.reports.kit.document import Page
from clearsight.reports.run.evaluation import evaluation
from clearsight.reports.run.findings import findings, rules
from clearsight.reports.run.provenance import data, provenance
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.system import system
from clearsight.reports.run.training import training
from clearsight.reports.run.verdict import verdict


class RunPage(Page[RunReportData]):
    """Page of one run, under 8 MB whatever the run.

    Building its sections raises BadValue when the recipe is not a YAML mapping.
    """

    kind = "Run report"
    # What a reader wants first comes first: the result, then what to change, then the details.
    SECTIONS = (verdict, findings, training, evaluation, data, system, rules, provenance)

    def __init__(self, data: RunReportData) -> None:
        super().__init__(data, title=data.name, badge=data.status.replace("_", " "))

    def values(self) -> dict[str, Any]:
        """Return name, status and findings; each finding as `Finding.to_json` gives it."""
        findings = [finding.to_json() for finding in self.data.findings]
        return {"name": self.data.name, "status": self.data.status, "findings": findings}
