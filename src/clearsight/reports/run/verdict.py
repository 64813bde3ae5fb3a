"""The first section: the run in three sentences and a handful of figures."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np

from clearsight.core.finding import Finding, Verdict, flags
from clearsight.core.statistics import wilson
from clearsight.reports.kit.format import duration, percent, percent_span, score, several
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.findings import most_urgent, root_causes, sentence, verdicts
from clearsight.reports.run.remarks import Remarks, remarks
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.system.step_times import StepPhases
from clearsight.reports.statistics import accuracy_interval

_ENDS = {
    "running": "is still in training ({share} so far)",
    "completed": "was trained for {done}",
    "stopped_early": "was trained for {share} and stopped early",
    "interrupted": "was interrupted after {share}",
    "diverged": "diverged after {share}",
    "failed": "failed after {share}",
}


# A loop of somebody's own has no recipe and no epochs to speak of.
_FOREIGN_ENDS = {
    "running": "is still running",
    "completed": "ran to its end",
    "stopped_early": "stopped early",
    "interrupted": "was interrupted",
}
_LOST = ("failed", "diverged")


def verdict(facts: RunReportData) -> PageSection:
    """What was trained on what, how good it is, what is wrong and what to do first; then the rest that stands out."""
    noticed, root = remarks(facts), most_urgent(facts.findings, _about_speed(facts))
    rest = noticed.found if root is not None else noticed.found[1:]
    return PageSection(
        key="verdict",
        title="Verdict",
        template="verdict.html",
        values={
            "sentences": (trained(facts), good(facts), wrong(facts, root, noticed)),
            "fix": flags(root.fix) if root is not None else "",
            "more": (*_other_causes(facts, root), *rest),
            "figures": _figures(facts),
        },
        scripts=("copy.js",) if root is not None and root.fix else (),
    )


def trained(facts: RunReportData) -> str:
    """What was trained on what, and how it ended."""
    settings, data = facts.settings, facts.data
    if _foreign(facts):
        return _ran(facts)
    asked = facts.epochs[-1]["epochs"] if facts.epochs else settings.get("epochs", 0)
    how = _ENDS.get(facts.status, f"ended as {facts.status} after {{done}}")
    done = several(len(facts.epochs), "epoch")
    told = how.format(done=done, share=f"{done} of {asked}" if asked else done)
    sentence = f"{settings.get('model', facts.name)}{_start(settings)} {told}"
    if facts.status != "running" and facts.reason and facts.status != "completed":
        sentence += f" ({facts.reason.rstrip('.')})"
    if data.get("classes"):
        sentence += f", on {several(facts.images('train'), 'image')} of {several(len(data['classes']), 'class')}"
        sentence += f" from {PurePath(data['path']).name}" if data.get("path") else ""
    return f"{sentence}."


def _about_speed(facts: RunReportData) -> set[str]:
    return {rule["name"] for rule in facts.rules if rule.get("topic") == "speed"}


def good(facts: RunReportData) -> str:
    """How good it is, with its interval; says so when only the validation split can tell, or nothing can."""
    if facts.evaluation is not None:
        found = facts.evaluation
        span = percent_span(accuracy_interval(found))
        images = several(found["n"], f"{facts.split} image")
        return (
            f"Of {images} it gets {percent(found['accuracy'])} right (95% interval {span}), "
            f"macro F1 {score(found['macro_f1'])}."
        )
    if _foreign(facts):
        return _fast(facts)
    best, seen = facts.best, facts.images("valid")
    if best is None or "accuracy" not in best["valid"] or not seen:
        return "It has not been evaluated."
    share = best["valid"]["accuracy"]
    span = percent_span(wilson(min(share * seen, seen), seen))
    return (
        f"Of {several(seen, 'validation image')} it gets {percent(share)} right (95% interval {span}), "
        "a little flattering since that split chose the epoch; a test split has not been evaluated."
    )


def _start(settings: dict[str, object]) -> str:
    if "weights" not in settings:
        return ""
    weights, freeze = str(settings["weights"]), str(settings.get("freeze", "none"))
    start = {"none": "from random weights", "default": "pretrained"}.get(weights, f"from {PurePath(weights).name}")
    held = {"none": "", "backbone": ", backbone frozen"}.get(freeze, f", frozen up to {freeze}")
    return f" ({start}{held})"


def wrong(facts: RunReportData, root: Finding | None, noticed: Remarks) -> str:
    """What to act on first: a rule's finding, else a remark; of a lost run without either, that nobody knows why."""
    if root is not None:
        advice = "" if root.fix else f" {sentence(root.advice)}".rstrip()
        return f"What to look at first is {root.rule}: {root.cause.rstrip('.')}.{advice}"
    if noticed.found:
        return noticed.found[0]
    if facts.status in _LOST:
        return "No rule found out why; log.txt of the run has its last words."
    return _nothing(facts, noticed.clear)


def _nothing(facts: RunReportData, clear: tuple[str, ...]) -> str:
    rules = sum(verdict is Verdict.CLEAR for verdict in verdicts(facts.findings).values())
    looked = [*clear, *([several(rules, "rule")] if rules else [])]
    if not looked:
        return "There is not enough yet to say what stands out."
    return f"Nothing stands out; looked at: {', '.join(looked)}."


def _other_causes(facts: RunReportData, root: Finding | None) -> list[str]:
    """The roots of the other causes by name, as one sentence; the section of findings tells them."""
    names = dict.fromkeys(cause.root.rule for cause in root_causes(facts.findings) if cause.root is not root)
    return [f"Found as well: {', '.join(names)}."] if names else []


def _foreign(facts: RunReportData) -> bool:
    return bool(facts.profile) and not facts.epochs and not facts.recipe and not facts.data


def _ran(facts: RunReportData) -> str:
    steps = facts.profile.steps() if facts.profile is not None else None
    told = f"{facts.name} {_FOREIGN_ENDS.get(facts.status, facts.status.replace('_', ' '))}"
    told += f" ({facts.reason.rstrip('.')})" if facts.reason and facts.status != "completed" else ""
    told += f" after {duration(facts.seconds)}" if facts.seconds else ""
    if steps is not None and len(steps):
        told += f", with {several(len(steps), 'timed training step')}"
    return f"{told}."


def _fast(facts: RunReportData) -> str:
    timed = StepPhases.of(facts.profile) if facts.profile is not None else None
    if timed is None or not len(timed.steps):
        return "How good its model is, nobody told."
    told = f"A step takes {1000 * float(np.median(timed.steps.seconds)):,.0f} ms (median)"
    told += f", which makes {timed.rate:,.0f} images per second" if timed.rate else ""
    told += f"; {percent(timed.waiting)} of it is waiting for data" if timed.waiting is not None else ""
    return f"{told}."


def _figures(facts: RunReportData) -> list[tuple[str, str, str]]:
    """(name, value, beneath) of the few numbers that people look for first."""
    shown: list[tuple[str, str, str]] = []
    if facts.evaluation is not None:
        found = facts.evaluation
        shown.append((f"{facts.split} accuracy", percent(found["accuracy"]), percent_span(accuracy_interval(found))))
        shown.append(("macro F1", score(found["macro_f1"]), "every class counts the same"))
        if found.get("roc_auc") is not None:
            shown.append(("ROC-AUC", score(found["roc_auc"]), "0.5 is a coin, 1 is perfect"))
        if found.get("ece") is not None:
            shown.append(("calibration error", percent(found["ece"]), "how far confidence is off"))
    best = facts.best
    if best is not None:
        shown.append(("epoch kept", str(best["epoch"]), f"of {several(len(facts.epochs), 'epoch')}"))
    if facts.seconds:
        rate = f"{facts.images_per_second:,.0f} images/s" if facts.images_per_second else "in all"
        shown.append(("training time", duration(facts.seconds), rate))
    waiting = StepPhases.of(facts.profile).waiting if facts.profile else None
    if waiting is not None:
        shown.append(("waiting for data", percent(waiting), "of the training steps' time"))
    return shown
