"""First section of the page of a study: the best trial, advice, and commands to type next."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from clearsight.core.finding import flags
from clearsight.core.format import count, duration, several
from clearsight.core.ties import ties_text
from clearsight.core.trial import TrialState, pareto_front
from clearsight.reports.kit.section import PageSection
from clearsight.reports.study.metric import format_metric, metric_name
from clearsight.reports.study.report_data import StudyReportData

# A completed study needs no words: its counts say it.
_ENDS = {
    "running": "is still running",
    "interrupted": "was interrupted",
    "failed": "failed",
    "stopped_early": "stopped before all trials ran",
}
_SCORES = ("accuracy", "macro_f1", "roc_auc", "loss")  # of the validation split


def verdict(report: StudyReportData) -> PageSection:
    """Return the study in a few sentences, the best settings, advice, and a few numbers."""
    best = report.best_trial
    fix = flags(best.params) if best is not None else ""
    ties = ties_text(report.best.get("ties") or {})
    sentences = (
        *(trials_sentence(report), best_sentence(report), f"{ties}." if ties else "", evaluation_sentence(report)),
        *(f"Failed after the training: {step['step']}: {step['problem']}" for step in report.failed_steps),
    )
    return PageSection(
        key="verdict",
        title="Verdict",
        template="study/verdict.html",
        values={
            "sentences": [sentence for sentence in sentences if sentence],
            "fix": fix,
            "advice": report.advice,
            "next": report.next,
            "figures": _figures(report),
        },
        scripts=("copy.js",) if fix or report.next else (),
    )


def trials_sentence(report: StudyReportData) -> str:
    """Return the number of trials in each state, and how the study ended."""
    number = len(report.own_trials)
    if not number:
        return f"The study {_ENDS.get(report.status, 'has no trials')}{_reason(report)}; no trial has started."
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.RUNNING)
    parts = [f"{count(matches)} {state.value}" for state in states if (matches := report.count(state))]
    settings = several(len(report.plan.space.names), "setting")
    text = f"{several(number, 'trial')} over {settings}: {', '.join(parts)}"
    text += f", in {duration(report.seconds)}" if report.seconds else ""
    if report.status in _ENDS:
        text += f"; the study {_ENDS[report.status]}{_reason(report)}"
    return f"{text}."


def best_sentence(report: StudyReportData) -> str:
    """Return the best trial beside the median; with several objectives, the size of the front that it is on."""
    best, metric = report.best_trial, report.objective.metric
    if best is None:
        return "No trial is complete yet, so there is no best trial." if report.own_trials else ""
    text = f"The best is trial {best.number} with {_value(metric, best.values[0])}"
    if len(report.plan.objectives) > 1:
        others = zip(report.plan.objectives[1:], best.values[1:], strict=False)
        values = " and ".join(_value(objective.metric, value) for objective, value in others)
        front = len(pareto_front(report.fully_scored, report.plan.objectives))
        return f"{text} (and {values}), one of {several(front, 'trial')} on the Pareto front."
    # Against the median, because the best of many is high by chance alone.
    if len(report.scored) > 1:
        middle = format_metric(metric, median(trial.values[0] for trial in report.scored))
        text += f"; the median of {several(len(report.scored), 'complete trial')} is {middle}"
    return f"{text}."


def evaluation_sentence(report: StudyReportData) -> str:
    """Return the scores of the best trial on the test split, or that they are missing."""
    test = report.best.get("test")
    if report.best_trial is None:
        return ""
    if isinstance(test, Mapping) and test:
        scores = {name: value for name, value in test.items() if name in ("accuracy", "macro_f1", "loss")}
        values = ", ".join(_value(name, float(value)) for name, value in scores.items() if value is not None)
        return f"On the test split, which no trial used, it has {values}." if values else ""
    # The choice of the best trial makes only scores optimistic, not a time or a size.
    if report.objective.metric not in _SCORES:
        return ""
    number = several(len(report.scored), "trial")
    reason = f"because the same validation images chose it among {number}"
    return f"That is slightly optimistic, {reason}; no test split was evaluated."


def _reason(report: StudyReportData) -> str:
    return f" ({report.reason.rstrip('.')})" if report.reason else ""


def _value(metric: str, value: float) -> str:
    """Return a value as part of a sentence: "accuracy 88.3%", "12.0 s"."""
    text = format_metric(metric, value)
    return text if metric == "seconds" else f"{metric_name(metric)} {text}"


def _figures(report: StudyReportData) -> list[tuple[str, str, str]]:
    """Return (name, value, explanation) of the numbers that readers look for first."""
    best = report.best_trial
    figures = []
    if best is not None:
        metric = report.objective.metric
        figures.append((f"best {metric_name(metric)}", format_metric(metric, best.values[0]), f"trial {best.number}"))
    if isinstance(test := report.best.get("test"), Mapping) and test.get("accuracy") is not None:
        figures.append(("test accuracy", format_metric("accuracy", test["accuracy"]), "of the best trial"))
    if report.own_trials:
        figures.append(("trials", count(len(report.own_trials)), f"of {count(report.plan.trials)} planned"))
        figures.append(("complete", count(report.count(TrialState.COMPLETE)), "trained to the end"))
        epochs = sum(trial.epochs for trial in report.own_trials)
        figures.append(("epochs trained", count(epochs), "over all trials"))
    if report.seconds:
        figures.append(("time", duration(report.seconds), f"{several(report.plan.parallel, 'worker')}"))
    return figures
