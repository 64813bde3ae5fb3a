"""The section of trials: the best with their recipes, all in order, and those of earlier studies apart."""

from __future__ import annotations

from collections.abc import Sequence

from clearsight.core.finding import flags
from clearsight.core.trial import Trial, TrialState
from clearsight.reports.kit.format import UNKNOWN, duration, several
from clearsight.reports.kit.section import PageSection, Table, table
from clearsight.reports.study.metric import named, written
from clearsight.reports.study.report_data import StudyReportData

_BEST = 10
_LISTED = 500


def trials(facts: StudyReportData) -> PageSection | None:
    """None before the first trial, if none came from an earlier study either."""
    if not facts.trials:
        return None
    best = _best_table(facts) if facts.scored else None
    every = _every_table(facts) if facts.own else None
    brought = _brought_table(facts) if facts.brought else None
    return PageSection(
        key="trials",
        title="Trials",
        template="study_trials.html",
        values={
            "about": _about(facts),
            "best": best,
            "every": every,
            "listed": f"All {several(len(facts.own), 'trial')}" if len(facts.own) <= _LISTED else f"First {_LISTED}",
            "brought": brought,
        },
        tables=tuple(one for one in (best, every, brought) if one is not None),
    )


def _about(facts: StudyReportData) -> str:
    run = facts.best.get("run")
    told = "What a recipe changes is written as it is typed."
    return f"{told} The best lies in {run}." if run else told


def _best_table(facts: StudyReportData) -> Table:
    shown = facts.ranked[:_BEST]
    scores = [name for name in ("accuracy", "macro_f1", "loss") if _adds(facts, shown, name)]
    columns = ["trial", *_objectives(facts), *map(named, scores), "epochs", "time", "what the recipe changes"]
    rows = [
        (
            one.number,
            *_values(facts, one),
            *(written(name, one.scores.get(name)) for name in scores),
            _epochs(one),
            _time(one),
            flags(one.params),
        )
        for one in shown
    ]
    return table("The best trials", columns, "r" * (len(columns) - 1) + "l", rows)


def _every_table(facts: StudyReportData) -> Table:
    columns = ["trial", "state", *_objectives(facts), "epochs", "time", "why it ended", "what the recipe changes"]
    rows = [
        (one.number, one.state.value, *_values(facts, one), _epochs(one), _time(one), _why(one), flags(one.params))
        for one in facts.own[:_LISTED]
    ]
    return table("Trials in order", columns, "rl" + "r" * (len(columns) - 4) + "ll", rows)


def _brought_table(facts: StudyReportData) -> Table:
    columns = ["trial", *_objectives(facts), "from", "what the recipe changes"]
    rows = [
        (one.number, *_values(facts, one), one.source, flags(one.params))
        for one in sorted(facts.brought, key=lambda one: one.number)[:_LISTED]
    ]
    return table(
        "Trials of earlier studies, from which the search began", columns, "r" * (len(columns) - 2) + "ll", rows
    )


def _objectives(facts: StudyReportData) -> list[str]:
    return [named(aim.metric) for aim in facts.plan.objectives]


def _values(facts: StudyReportData, trial: Trial) -> list[str]:
    """A cell per objective; of a trial without values, dashes."""
    aims = facts.plan.objectives
    given = [*trial.values, *(None for _ in aims)][: len(aims)]
    return [written(aim.metric, value) for aim, value in zip(aims, given, strict=True)]


def _adds(facts: StudyReportData, shown: Sequence[Trial], name: str) -> bool:
    """Whether a score is known and no objective itself."""
    return all(name != aim.metric for aim in facts.plan.objectives) and any(name in one.scores for one in shown)


def _epochs(trial: Trial) -> str:
    if trial.same_as is not None:
        return UNKNOWN
    return f"{trial.epochs} of {trial.planned}" if trial.planned > trial.epochs else str(trial.epochs)


def _time(trial: Trial) -> str:
    return duration(trial.seconds) if trial.seconds else UNKNOWN


def _why(trial: Trial) -> str:
    told = [trial.reason] if trial.reason else []
    if trial.same_as is not None:
        told.append(f"answered from trial {trial.same_as}, which has the same recipe")
    if trial.attempts > 1 and trial.state is not TrialState.RUNNING:
        told.append(f"{trial.attempts} attempts")
    return "; ".join(told)
