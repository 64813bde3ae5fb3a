"""First section of the page of a run: the run in three sentences and a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from clearsight.core.finding import Finding, Verdict, flags
from clearsight.core.format import duration, several, speed
from clearsight.reports.kit.format import general, percent, percent_span, score, sentence
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.findings import most_urgent, root_causes, verdicts
from clearsight.reports.run.remarks import remarks
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.step_times import StepPhases
from clearsight.reports.statistics import share_interval

# {done}: "8 epochs".  {progress}: "8 of 20 epochs".
_ENDS = {
    "running": "is still training ({progress} so far)",
    "completed": "was trained for {done}",
    "stopped_early": "was trained for {progress} and stopped early",
    "interrupted": "was interrupted after {progress}",
    "diverged": "diverged after {progress}",
    "failed": "failed after {progress}",
}
# An external training loop has neither a recipe nor epochs.
_EXTERNAL_ENDS = {
    "running": "is still running",
    "completed": "finished",
    "stopped_early": "stopped early",
    "interrupted": "was interrupted",
}
_LOST = ("failed", "diverged")  # statuses without a usable model


def verdict(report: RunReportData) -> PageSection:
    """Return what was trained, how good it is, what is wrong and what to do first; then the other problems."""
    # A finding has evidence from the training itself; a remark follows from the scores alone.
    (noticed, clear), root = remarks(report), most_urgent(report.findings, report.speed_rules)
    problem = problem_sentence(report, root, noticed, clear)
    # Without a finding the first remark is the third sentence; it is not repeated below.
    more = noticed if root is not None else noticed[1:]
    # Only the names: the section of findings has the details.
    others = dict.fromkeys(cause.root.rule for cause in root_causes(report.findings) if cause.root is not root)
    return PageSection(
        key="verdict",
        title="Verdict",
        template="run/verdict.html",
        values={
            "sentences": (training_sentence(report), score_sentence(report), problem),
            "fix": flags(root.fix) if root is not None else "",
            "more": (*([f"Found by rules: {', '.join(others)}."] if others else []), *more),
            "failed": [dict(step) for step in report.failed_steps],
            "figures": _figures(report),
        },
        scripts=("copy.js",) if root is not None and root.fix else (),
    )


def training_sentence(report: RunReportData) -> str:
    """Return what was trained on which data, and how it ended."""
    settings, data = report.settings, report.data
    if report.external:
        return _external_sentence(report)
    planned = report.epochs[-1]["epochs"] if report.epochs else settings.get("epochs", 0)
    done = several(len(report.epochs), "epoch")
    progress = f"{len(report.epochs)} of {several(planned, 'epoch')}" if planned else done
    end = _ENDS.get(report.status, f"ended as {report.status} after {{done}}").format(done=done, progress=progress)
    text = f"{settings.get('model', report.name)}{_start(settings)} {end}"
    # A run that is still training or completed has nothing to explain.
    if report.reason and report.status not in ("running", "completed"):
        text += f" ({report.reason.rstrip('.')})"
    if data.get("classes"):
        text += f", on {several(report.images('train'), 'image')} of {several(len(data['classes']), 'class')}"
        text += f" from {PurePath(data['path']).name}" if data.get("path") else ""
    decided = f" {report.second_phase}" if report.second_phase else ""
    return f"{text}.{decided}{_refit_sentence(report)}"


def _refit_sentence(report: RunReportData) -> str:
    """Return which weights are the model, after a space, where a refit was asked for."""
    if not report.refit:
        return ""
    if not report.refit["epochs"]:
        return f" It was not trained again on the validation images: {report.refit['reason']}."
    done = f"{several(report.refit['epochs'], 'epoch')} on {several(report.refit['images'], 'image')}"
    return (
        f" The model was then trained again for {done}, validation images included; validation scores, curves and "
        "calibration are those of the training before."
    )


def score_sentence(report: RunReportData) -> str:
    """Return the accuracy with its interval, on the test split or else on the validation split."""
    if report.evaluation is not None:
        scores = report.evaluation
        interval = percent_span(share_interval(scores["accuracy"], scores["n"]))
        images = several(scores["n"], f"{report.split} image")
        return (
            f"It classifies {percent(scores['accuracy'])} of {images} correctly (95% interval {interval}); "
            f"its macro F1 is {score(scores['macro_f1'])}."
        )
    if report.external:
        return _external_score_sentence(report)
    # Only the sizes of the splits are needed for the interval, so a run without an evaluation has one too.
    best, images_seen = report.best, report.images("valid")
    if best is None or "accuracy" not in best["valid"] or not images_seen:
        return "It has not been evaluated."
    share = best["valid"]["accuracy"]
    interval = percent_span(share_interval(share, images_seen))
    return (
        f"It classifies {percent(share)} of {several(images_seen, 'validation image')} correctly (95% interval "
        f"{interval}). That is slightly optimistic, because these images also chose the epoch; no test split was "
        "evaluated."
    )


def problem_sentence(report: RunReportData, root: Finding | None, noticed: Sequence[str], clear: Sequence[str]) -> str:
    """Return what to act on first: a finding, else a remark; for a lost run without either, where to look."""
    if root is not None:
        advice = "" if root.fix else f" {sentence(root.advice)}".rstrip()
        return f"Look first at {root.rule}: {root.cause.rstrip('.')}.{advice}"
    if noticed:
        return noticed[0]
    if report.status in _LOST:
        return "No rule found the reason; see the last lines of log.txt in the run folder."
    rules = sum(verdict is Verdict.CLEAR for verdict in verdicts(report.findings).values())
    checked = [*clear, *([several(rules, "rule")] if rules else [])]
    if not checked:
        return "There is not enough data yet to check the run for problems."
    return f"No problem was found. Checked: {', '.join(checked)}."


def _start(settings: dict[str, object]) -> str:
    if "weights" not in settings:
        return ""  # a hand-written recipe may name the model alone
    weights, freeze = str(settings["weights"]), str(settings.get("freeze", "none"))
    start = {"none": "from random weights", "default": "pretrained"}.get(weights, f"from {PurePath(weights).name}")
    frozen = {"none": "", "backbone": ", backbone frozen"}.get(freeze, f", frozen up to {freeze}")
    return f" ({start}{frozen})"


def _external_sentence(report: RunReportData) -> str:
    steps = report.profile.steps() if report.profile is not None else None
    model = report.settings.get("model")
    text = f"{model}, trained by a loop of your own," if model else report.name
    text += f" {_EXTERNAL_ENDS.get(report.status, report.status.replace('_', ' '))}"
    text += f" ({report.reason.rstrip('.')})" if report.reason and report.status != "completed" else ""
    text += f" after {duration(report.seconds)}" if report.seconds else ""
    if report.epochs:
        last = report.epochs[-1]
        text += f" after {several(last['epoch'], 'epoch')} and {several(last['step'], 'step')}"
    if steps is not None and len(steps):
        text += f", with {several(len(steps), 'timed training step')}"
    return f"{text}."


def _external_score_sentence(report: RunReportData) -> str:
    best = report.best
    scores = {**best["valid"]} if best is not None else {}
    if best is None or not scores:
        return _speed_sentence(report)
    # Of a loop only the batches are known; the last one of an epoch may be smaller and counts as much.
    found = [f"accuracy {percent(scores['accuracy'])}"] if "accuracy" in scores else []
    found += [f"loss {general(scores['loss'])}"] if "loss" in scores else []
    return f"Best evaluation: {', '.join(found)} in epoch {best['epoch']} (means over the batches)."


def _speed_sentence(report: RunReportData) -> str:
    timed = StepPhases.of(report.profile) if report.profile is not None else None
    if timed is None or not len(timed.steps):
        return "The accuracy of its model is not known."
    text = f"A step takes {1000 * float(np.median(timed.steps.seconds)):,.0f} ms (median)"
    text += f", at {speed(timed.images_per_second)}" if timed.images_per_second else ""
    text += f"; {percent(timed.waiting)} of the time is spent waiting for data" if timed.waiting is not None else ""
    return f"{text}."


def _figures(report: RunReportData) -> list[tuple[str, str, str]]:
    """Return (name, value, explanation) of the numbers that readers look for first."""
    figures: list[tuple[str, str, str]] = []
    if report.evaluation is not None:
        scores = report.evaluation
        interval = percent_span(share_interval(scores["accuracy"], scores["n"]))
        figures.append((f"{report.split} accuracy", percent(scores["accuracy"]), interval))
        figures.append(("macro F1", score(scores["macro_f1"]), "mean over classes"))
        if scores.get("roc_auc") is not None:  # with two classes alone
            figures.append(("ROC-AUC", score(scores["roc_auc"]), "0.5 is chance level, 1 is perfect"))
        if scores.get("ece") is not None:
            figures.append(("calibration error", percent(scores["ece"]), "gap of confidence and accuracy"))
    best = report.best
    if best is not None:
        figures.append(("best epoch", str(best["epoch"]), f"of {several(len(report.epochs), 'epoch')}"))
    if report.seconds:
        explanation = speed(report.images_per_second) if report.images_per_second else "in total"
        figures.append(("training time", duration(report.seconds), explanation))
    waiting = StepPhases.of(report.profile).waiting if report.profile else None
    if waiting is not None:
        figures.append(("waiting for data", percent(waiting), "of the time of training steps"))
    return figures
