"""Section of the trials: the best with their settings, all in order, and those of earlier studies."""

from __future__ import annotations

from collections.abc import Sequence

from clearsight.core.finding import flags
from clearsight.core.format import duration, several
from clearsight.core.trial import Trial, TrialState
from clearsight.reports.kit.format import UNKNOWN
from clearsight.reports.kit.section import PageSection, Table, table
from clearsight.reports.study.metric import format_metric, metric_name
from clearsight.reports.study.report_data import StudyReportData

_BEST = 10
_LISTED = 500  # rows of a table; more would make the page slow


def trials(report: StudyReportData) -> PageSection | None:
    """Return the section; None before the first trial, unless some came from an earlier study."""
    if not report.trials:
        return None
    best = _best_table(report) if report.scored else None
    complete = _all_table(report) if report.own_trials else None
    imported = _imported_table(report) if report.imported_trials else None
    number = len(report.own_trials)
    return PageSection(
        key="trials",
        title="Trials",
        template="study/trials.html",
        values={
            "about": _about(report),
            "best": best,
            "all": complete,
            "all_title": f"All {several(number, 'trial')}" if number <= _LISTED else f"First {_LISTED}",
            "imported": imported,
        },
        tables=tuple(part for part in (best, complete, imported) if part is not None),
    )


def _about(report: StudyReportData) -> str:
    run = report.best.get("run")
    text = "Settings are written as flags, as they are typed."
    return f"{text} The folder of the best run is {run}." if run else text


def _best_table(report: StudyReportData) -> Table:
    best = report.ranked[:_BEST]
    scores = [name for name in ("accuracy", "macro_f1", "loss") if _is_extra_score(report, best, name)]
    columns = ["trial", *_objectives(report), *map(metric_name, scores), "epochs", "time", "settings"]
    rows = [
        (
            trial.number,
            *_values(report, trial),
            *(format_metric(name, trial.scores.get(name)) for name in scores),
            _epochs(trial),
            _time(trial),
            flags(trial.params),
        )
        for trial in best
    ]
    return table("The best trials", columns, "r" * (len(columns) - 1) + "l", rows)


def _all_table(report: StudyReportData) -> Table:
    columns = ["trial", "state", *_objectives(report), "epochs", "time", "reason for its end", "settings"]
    rows = [
        (
            trial.number,
            trial.state.value,
            *_values(report, trial),
            _epochs(trial),
            _time(trial),
            _reason(trial),
            flags(trial.params),
        )
        for trial in report.own_trials[:_LISTED]
    ]
    return table("Trials in order", columns, "rl" + "r" * (len(columns) - 4) + "ll", rows)


def _imported_table(report: StudyReportData) -> Table:
    columns = ["trial", *_objectives(report), "study", "settings"]
    rows = [
        (trial.number, *_values(report, trial), trial.source, flags(trial.params))
        for trial in sorted(report.imported_trials, key=lambda trial: trial.number)[:_LISTED]
    ]
    align = "r" * (len(columns) - 2) + "ll"
    return table("Trials of earlier studies, from which the search began", columns, align, rows)


def _objectives(report: StudyReportData) -> list[str]:
    return [metric_name(objective.metric) for objective in report.plan.objectives]


def _values(report: StudyReportData, trial: Trial) -> list[str]:
    """Return a cell per objective, dashes for a trial without values."""
    objectives = report.plan.objectives
    # A trial of an earlier study may have fewer objectives or more.
    values = [*trial.values, *(None for _ in objectives)][: len(objectives)]
    return [format_metric(objective.metric, value) for objective, value in zip(objectives, values, strict=True)]


def _is_extra_score(report: StudyReportData, trials: Sequence[Trial], name: str) -> bool:
    """Return True for a score that any trial has and that is no objective itself."""
    is_objective = any(name == objective.metric for objective in report.plan.objectives)
    return not is_objective and any(name in trial.scores for trial in trials)


def _epochs(trial: Trial) -> str:
    if trial.same_as is not None:
        return UNKNOWN  # nothing was trained for it
    # Pruned trials and those with patience train fewer epochs than planned.
    return f"{trial.epochs} of {trial.planned}" if trial.planned > trial.epochs else str(trial.epochs)


def _time(trial: Trial) -> str:
    return duration(trial.seconds) if trial.seconds else UNKNOWN


def _reason(trial: Trial) -> str:
    reasons = [trial.reason] if trial.reason else []
    if trial.same_as is not None:
        reasons.append(f"result of trial {trial.same_as}, which has the same recipe")
    # A worker may have died; while the trial runs, further attempts may follow.
    if trial.attempts > 1 and trial.state is not TrialState.RUNNING:
        reasons.append(f"{trial.attempts} attempts")
    return "; ".join(reasons)
