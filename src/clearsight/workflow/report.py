"""report: the page of a run or a study, written again from what is in its folder."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.study import Study


def rewrite(folder: Path, storage: str | None = None) -> Path:
    """Write the page of the run or study in the folder again and return its path.

    storage: the URL of a study's storage, where that needs a password, which a study does not keep.

    Raises NotFound where there is neither.
    """
    if Study.exists(folder):
        from clearsight.tuning.storage.optuna_storage import with_storage
        from clearsight.workflow.study.report import rewrite_study_report

        study = Study.open(folder)
        study.plan = with_storage(study.plan, storage)
        return rewrite_study_report(study)
    # Here: the report of a study loads no torch.
    from clearsight.workflow.run.external import find_run
    from clearsight.workflow.run.report import rewrite_report

    return rewrite_report(find_run(folder))
