"""The output of SageMaker's profiler rules, made from a run of clearsight."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.files import write_json, write_text
from clearsight_sagemaker.measured import measured
from clearsight_sagemaker.profiler_page import profiler_page
from clearsight_sagemaker.rule_reports import rule_reports


def write_profiler_output(run: Path, out: Path) -> Path:
    """Write what SageMaker's ProfilerReport leaves, below `out`; returns the folder, `out/profiler-output`.

    run: a run folder with profile/ and findings.jsonl, of clearsight's training or of a script that it watched.
    profiler-report.html is the page, profiler-reports/{rule}.json each of the eleven rules. What was there is replaced.
    Raises NotFound where there is no run in the folder, BadData or BadValue where it is damaged, DiskFull without room.
    """
    found = measured(run)
    reports = rule_reports(found)
    folder = out / "profiler-output"
    for report in reports:
        write_json(folder / "profiler-reports" / f"{report.name}.json", report.to_json())
    write_text(folder / "profiler-report.html", profiler_page(found, reports))
    return folder
