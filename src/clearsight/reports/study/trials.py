"""Section of the trials: the best with their settings, all in order, and those of earlier studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

from clearsight.core.finding import flags
from clearsight.core.format import duration, several
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.reports.kit.format import UNKNOWN
from clearsight.reports.kit.section import PageSection, Table, table
from clearsight.reports.study.metric import format_metric, metric_name
from clearsight.reports.study.report_data import StudyReportData

_BEST = 10
_LISTED = 500  # rows of a table; more would make the page slow


Column = tuple[str, str, Callable[[Trial], object]]  # title, alignment (l or r), cell of a trial


def trials(report: StudyReportData) -> PageSection | None:
    """Return the section; None before the first trial, unless some came from an earlier study."""
    if not report.trials:
        return None
    number: Column = ("trial", "r", attrgetter("number"))
    state: Column = ("state", "l", attrgetter("state.value"))
    objectives = [_objective(place, objective) for place, objective in enumerate(report.plan.objectives)]
    lengths: list[Column] = [("epochs", "r", _epochs), ("time", "r", _time)]
    reason: Column = ("reason for its end", "l", _reason)
    study: Column = ("study", "l", attrgetter("source"))
    settings: Column = ("settings", "l", lambda trial: flags(trial.params))

    best_trials, own_trials = report.ranked[:_BEST], report.own_trials
    scores = [_score(name) for name in ("accuracy", "macro_f1", "loss") if _is_extra_score(report, best_trials, name)]
    best = _table("The best trials", best_trials, number, *objectives, *scores, *lengths, settings)
    all_columns = (number, state, *objectives, *lengths, reason, settings)
    complete = _table("Trials in order", own_trials[:_LISTED], *all_columns)
    imported_trials = sorted(report.imported_trials, key=attrgetter("number"))[:_LISTED]
    caption = "Trials of earlier studies, from which the search began"
    imported = _table(caption, imported_trials, number, *objectives, study, settings)
    all_title = f"All {several(len(own_trials), 'trial')}" if len(own_trials) <= _LISTED else f"First {_LISTED}"
    about = "Settings are written as flags, as they are typed."
    about += f" The folder of the best run is {report.best['run']}." if report.best.get("run") else ""
    return PageSection(
        key="trials",
        title="Trials",
        template="study/trials.html",
        values={"about": about, "best": best, "all": complete, "all_title": all_title, "imported": imported},
        tables=tuple(part for part in (best, complete, imported) if part.rows),
    )


def _table(caption: str, trials: Sequence[Trial], *columns: Column) -> Table:
    titles, align, cells = zip(*columns, strict=True)
    return table(caption, titles, "".join(align), [[cell(trial) for cell in cells] for trial in trials])


def _objective(place: int, objective: Objective) -> Column:
    """Return the column of an objective, with a dash for a trial without its value."""

    def cell(trial: Trial) -> str:
        # A trial of an earlier study may have fewer objectives or more.
        return format_metric(objective.metric, trial.values[place] if place < len(trial.values) else None)

    return metric_name(objective.metric), "r", cell


def _score(name: str) -> Column:
    return metric_name(name), "r", lambda trial: format_metric(name, trial.scores.get(name))


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
