"""report: the page of a run or a study, written again from what is in its folder."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.study import Study


def rewrite(folder: Path) -> Path:
    """Write the page of the run or study in the folder again and return its path.

    Raises NotFound where there is neither.
    """
    if Study.exists(folder):
        from clearsight.workflow.study.report import rewrite_study_report

        return rewrite_study_report(Study.open(folder))
    # Here: the report of a study loads no torch.
    from clearsight.workflow.run.external import find_run
    from clearsight.workflow.run.report import rewrite_report

    return rewrite_report(find_run(folder))
