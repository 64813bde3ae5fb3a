"""Files of a ProfilerReport: the page, the notebook, and a JSON of each rule, as objects of the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from clearsight_sagemaker.profiler_report import profiler_page
from clearsight_sagemaker.rule_reports import RuleReport, rule_reports
from clearsight_sagemaker.run_profile import RunProfile
from clearsight_sagemaker.training.objects import Objects, join_uri

_READ_REPORTS = """import json
from pathlib import Path

reports = {path.stem: json.loads(path.read_text()) for path in sorted(Path("profiler-reports").glob("*.json"))}
for name, report in reports.items():
    print(f"{name:24} triggered {report['RuleTriggered']}, data points {report['Datapoints']}")"""
_SHOW_USAGE = """for metric, nodes in reports["OverallSystemUsage"]["Details"].items():
    for node, values in nodes.items():
        print(node, metric, values)"""


def upload_report(run: RunProfile, uri: str, objects: Objects) -> None:
    """Write the files below an address. Raises S3Error, OSError."""
    reports = rule_reports(run)
    page = profiler_page(run, reports)
    files = {f"profiler-reports/{report.name}.json": json.dumps(report.to_json(), indent=4) for report in reports}
    # The page comes last: clients wait for it.
    files |= {"profiler-report.ipynb": json.dumps(_notebook(run, reports), indent=1), "profiler-report.html": page}
    for name, text in files.items():
        with objects.writing(join_uri(uri, name)) as file:
            file.write(text.encode())


def _notebook(run: RunProfile, reports: Sequence[RuleReport]) -> dict[str, Any]:
    """Return a notebook that reads the JSON files beside it."""
    rows = "\n".join(
        f"| {report.name} | {report.description} | {report.triggered} | {report.datapoints} |" for report in reports
    )
    table = f"| rule | question | triggered | data points |\n|---|---|---|---|\n{rows}"
    cells = [
        _text(f"# SageMaker Debugger Profiling Report\n\nJob {run.name}"),
        _text(f"## Rules summary\n\n{table}"),
        _code(_READ_REPORTS),
        _text("## System usage statistics"),
        _code(_SHOW_USAGE),
        _text("## Step durations"),
        _code('print(json.dumps(reports["StepOutlier"]["Details"], indent=2))'),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells)]
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str) -> dict[str, Any]:
    lines = source.splitlines(keepends=True)
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": lines}
