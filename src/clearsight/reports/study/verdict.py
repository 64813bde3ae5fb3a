"""The first section: what the search found, what it teaches, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from clearsight.core.finding import flags
from clearsight.core.trial import TrialState, pareto_front
from clearsight.reports.kit.format import count, duration, several
from clearsight.reports.kit.section import PageSection
from clearsight.reports.study.metric import named, written
from clearsight.reports.study.report_data import StudyReportData

_ENDS = {
    "running": "is still running",
    "interrupted": "was interrupted",
    "failed": "failed",
    "stopped_early": "ended before all was tried",
}


def verdict(facts: StudyReportData) -> PageSection:
    """The study in three sentences, the best recipe, advice, and a handful of figures."""
    best = facts.best_trial
    fix = flags(best.params) if best is not None else ""
    return PageSection(
        key="verdict",
        title="Verdict",
        template="study_verdict.html",
        values={
            "sentences": [sentence for sentence in (searched(facts), good(facts), on_test_split(facts)) if sentence],
            "fix": fix,
            "advice": facts.advice,
            "next": facts.next,
            "figures": _figures(facts),
        },
        scripts=("copy.js",) if fix or facts.next else (),
    )


def searched(facts: StudyReportData) -> str:
    """How many trials there were, how they ended, and how the study did."""
    own = len(facts.own)
    if not own:
        return f"The study {_ENDS.get(facts.status, 'has no trials')}{_why(facts)}; no trial has begun."
    states = ((TrialState.COMPLETE, "complete"), (TrialState.PRUNED, "pruned"), (TrialState.FAILED, "failed"))
    parts = [f"{count(number)} {word}" for state, word in states if (number := facts.counted(state))]
    parts += [f"{count(number)} under way"] if (number := facts.counted(TrialState.RUNNING)) else []
    varied = several(len(facts.plan.space.names), "setting")
    sentence = f"{several(own, 'trial')} over {varied}: {', '.join(parts)}"
    sentence += f", in {duration(facts.seconds)}" if facts.seconds else ""
    if facts.status in _ENDS:
        sentence += f"; the study {_ENDS[facts.status]}{_why(facts)}"
    return f"{sentence}."


def good(facts: StudyReportData) -> str:
    """The best trial against the middle one; with several objectives the front that it stands on."""
    best, metric = facts.best_trial, facts.aim.metric
    if best is None:
        return "No trial is complete yet, so there is no best." if facts.own else ""
    usual = median(trial.values[0] for trial in facts.scored)
    sentence = f"The best is trial {best.number} with {_value(metric, best.values[0])}"
    if len(facts.plan.objectives) > 1:
        others = zip(facts.plan.objectives[1:], best.values[1:], strict=False)
        said = " and ".join(_value(aim.metric, value) for aim, value in others)
        front = len(pareto_front(facts.measured, facts.plan.objectives))
        sentence += f" (and {said}), one of {several(front, 'trial')} on the Pareto front"
        return f"{sentence}."
    if len(facts.scored) > 1:
        sentence += f"; the middle one of {several(len(facts.scored), 'complete trial')} has {written(metric, usual)}"
    return f"{sentence}."


def on_test_split(facts: StudyReportData) -> str:
    """What the test split says of the best, or that nobody asked it."""
    test = facts.best.get("test")
    if facts.best_trial is None:
        return ""
    if isinstance(test, Mapping) and test:
        known = {name: value for name, value in test.items() if name in ("accuracy", "macro_f1", "loss")}
        said = ", ".join(_value(name, float(value)) for name, value in known.items() if value is not None)
        return f"On the test split, which no trial saw, it has {said}." if said else ""
    if facts.aim.metric not in ("accuracy", "macro_f1", "roc_auc", "loss"):
        return ""
    among = several(len(facts.scored), "trial")
    return (
        f"That is a little flattering, since the same validation images chose it among {among}; "
        "the test split has not been evaluated."
    )


def _why(facts: StudyReportData) -> str:
    return f" ({facts.reason.rstrip('.')})" if facts.reason else ""


def _value(metric: str, value: float) -> str:
    """As part of a sentence: "accuracy 88.3%", "12.0 s"."""
    return written(metric, value) if metric == "seconds" else f"{named(metric)} {written(metric, value)}"


def _figures(facts: StudyReportData) -> list[tuple[str, str, str]]:
    best: Any = facts.best_trial
    shown = []
    if best is not None:
        metric = facts.aim.metric
        shown.append((f"best {named(metric)}", written(metric, best.values[0]), f"trial {best.number}"))
    if isinstance(test := facts.best.get("test"), Mapping) and test.get("accuracy") is not None:
        shown.append(("test accuracy", written("accuracy", test["accuracy"]), "of the best"))
    if facts.own:
        shown.append(("trials", count(len(facts.own)), f"{count(facts.plan.trials)} asked for"))
        shown.append(("complete", count(facts.counted(TrialState.COMPLETE)), "ran to their end"))
        epochs = sum(trial.epochs for trial in facts.own)
        shown.append(("epochs trained", count(epochs), "over all trials"))
    if facts.seconds:
        shown.append(("time", duration(facts.seconds), f"{several(facts.plan.parallel, 'worker')}"))
    return shown
