"""Report of a study: gathers its data from the study folder and writes the page and its numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearsight.core.run import Run, RunFolder
from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Trial
from clearsight.tuning.analysis.advice import advice
from clearsight.tuning.analysis.hypervolume import hypervolume_history
from clearsight.tuning.analysis.importance import importances
from clearsight.tuning.analysis.savings import study_savings
from clearsight.tuning.trial_store import read_trials

if TYPE_CHECKING:
    from clearsight.reports.study.report_data import StudyReportData


def write_study_report(study: Study, trials: Sequence[Trial]) -> Path:
    """Write report.html and report.json of a study in any state. Return the path of the page."""
    # Imported here: the functions below need neither plotly nor the templates.
    from clearsight.reports.study.page import StudyPage

    page = study.path / "report.html"
    StudyPage(study_report_data(study, trials)).write(page, study.path / "report.json")
    return page


def rewrite_study_report(study: Study) -> Path:
    """Write the report again from the trials on disk. Return the path of the page."""
    return write_study_report(study, read_trials(study))


def study_report_data(study: Study, trials: Sequence[Trial]) -> StudyReportData:
    """Return everything that the page shows, gathered from the study folder."""
    from clearsight.reports.study.report_data import StudyReportData

    run, plan = best_run(study), study.plan
    shares = importances(trials, plan.space, plan.objectives[0])
    return StudyReportData(
        name=study.name,
        status=study.status.value,
        plan=plan,
        reason=study.reason,
        recipe=study.recipe.without_secrets().to_yaml(),
        trials=trials,
        best={**study.best, "test": run.scores.get("test") if run else None} if study.best else {},
        failed_steps=study.failed_steps,
        seconds=study.seconds,
        importance=shares,  # computed once: the advice needs it too
        hypervolume=hypervolume_history(trials, plan.objectives) if len(plan.objectives) > 1 else (),
        advice=advice(plan, trials, shares),
        saved=study_savings(trials),
        next=next_commands(study),
        data=run.data if run else {"path": plan.data},
        versions=study.versions,
        hardware=study.hardware,
        command=study.command,
    )


def best_run(study: Study) -> Run | None:
    """Return the run of the best trial; None if there is none."""
    if not study.best:
        return None
    # Found by the number of the trial, because the study folder may have moved since.
    path = study.path / "trials" / Path(study.best["run"]).parent.name / "run"
    return Run.open(path) if RunFolder(path).is_run else None


def next_commands(study: Study) -> list[str]:
    """Return the commands that are useful for a study in this state."""
    if not study.plan.data:  # somebody else runs the trials
        return []
    # A status of running without a process is a study that was killed: it can be resumed too.
    if study.status in (StudyStatus.INTERRUPTED, StudyStatus.RUNNING):
        return [shlex.join(["clearsight", "tune", "--resume", str(study.path)])]
    if not study.best:
        return []
    run = best_run(study)
    commands = [["train", study.plan.data, "--recipe", str(study.path / "best.yaml")]]
    # Retention may have removed the bundle of the best trial.
    if run is not None and run.has_bundle:
        # IMAGE... stands for the user's own files.
        commands += [["predict", str(run.path), "IMAGE..."], ["serve", str(run.path), "--port", "8080"]]
    return [shlex.join(["clearsight", *words]) for words in commands]


def study_json(study: Study, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the value that `clearsight tune --json` prints."""
    run, objectives = best_run(study), study.plan.objectives
    return {
        "study": str(study.path),
        "status": study.status.value,
        "reason": study.reason,
        "direction": objectives[0].direction,
        "metric": objectives[0].metric,
        "objectives": [{"metric": objective.metric, "direction": objective.direction} for objective in objectives],
        "best": {**study.best, "test": run.scores.get("test") if run else None} if study.best else None,
        "failed_steps": study.failed_steps,
        "trials": [trial_json(trial) for trial in trials],
        "saved": study_savings(trials),
        "seconds": study.seconds,
    }


def trial_json(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.value,
        "value": trial.values[0] if trial.values else None,
        "values": list(trial.values),
        "params": dict(trial.params),
        "seconds": trial.seconds,
        "reason": trial.reason,
        "epochs": trial.epochs,
        "same_as": trial.same_as,
        "source": trial.source or None,
    }
