"""The report of a study: one page, and every figure's numbers beside it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearsight.core.files import write_text
from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Trial
from clearsight.tuning.analysis.advice import advice
from clearsight.tuning.analysis.hypervolume import hypervolume_history
from clearsight.tuning.analysis.importance import importances
from clearsight.tuning.analysis.savings import study_savings
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.study.best import best_run

if TYPE_CHECKING:
    from clearsight.reports.study.report_data import StudyReportData


def write_study_report(study: Study, trials: Sequence[Trial]) -> Path:
    """Write report.html and report.json of a study, however it stands; returns the page."""
    from clearsight.reports.study.page import figures_of, page_of, sections_of

    told = study_facts(study, trials)
    page, sections = study.path / "report.html", sections_of(told)
    write_text(page, page_of(told, sections))
    write_text(study.path / "report.json", json.dumps(figures_of(told, sections), allow_nan=False) + "\n")
    return page


def rewrite_study_report(study: Study) -> Path:
    """Write the report again from what lies on disk."""
    return write_study_report(study, read_trials(study))


def study_facts(study: Study, trials: Sequence[Trial]) -> StudyReportData:
    """Everything the page says, gathered from the study folder."""
    from clearsight.reports.study.report_data import StudyReportData

    run, plan = best_run(study), study.plan
    shares = importances(trials, plan.space, study.aim)
    return StudyReportData(
        name=study.name,
        status=study.status.value,
        plan=plan,
        reason=study.reason,
        recipe=study.recipe.to_yaml(),
        trials=trials,
        best={**study.best, "test": run.scores.get("test") if run else None} if study.best else {},
        seconds=study.seconds,
        importance=shares,
        hypervolume=hypervolume_history(trials, plan.objectives) if len(plan.objectives) > 1 else (),
        advice=advice(plan, trials, shares),
        saved=study_savings(trials),
        next=next_commands(study),
        data=run.data if run else {"path": plan.data},
        versions=study.versions,
        hardware=study.hardware,
        command=study.command,
    )


def next_commands(study: Study) -> list[str]:
    """What to do with a study in this state."""
    if study.status in (StudyStatus.INTERRUPTED, StudyStatus.RUNNING):
        return [shlex.join(["clearsight", "tune", "--resume", str(study.path)])]
    if not study.best:
        return []
    run = best_run(study)
    commands = [["train", study.plan.data, "--recipe", str(study.path / "best.yaml")]]
    if run is not None and run.has_bundle:
        commands += [["predict", str(run.path), "IMAGE..."], ["serve", str(run.path), "--port", "8080"]]
    return [shlex.join(["clearsight", *words]) for words in commands]


def study_json(study: Study, trials: Sequence[Trial]) -> dict[str, Any]:
    """The shape of `clearsight tune --json`."""
    run = best_run(study)
    return {
        "study": str(study.path),
        "status": study.status.value,
        "reason": study.reason,
        "direction": study.aim.direction,
        "metric": study.aim.metric,
        "objectives": [{"metric": one.metric, "direction": one.direction} for one in study.plan.objectives],
        "best": {**study.best, "test": run.scores.get("test") if run else None} if study.best else None,
        "trials": [trial_json(trial) for trial in trials],
        "saved": study_savings(trials),
        "seconds": study.seconds,
    }


def trial_json(trial: Trial) -> dict[str, Any]:
    """One trial as JSON values."""
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
