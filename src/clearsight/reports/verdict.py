"""The first section: the run in three sentences and a handful of figures."""

from __future__ import annotations

from pathlib import PurePath

from clearsight.core.interval import wilson
from clearsight.reports.facts import RunFacts
from clearsight.reports.interval import accuracy_interval
from clearsight.reports.remarks import remarks
from clearsight.reports.section import Section
from clearsight.reports.wording import duration, percent, percent_span, score, several

_ENDS = {
    "running": "is still in training ({share} so far)",
    "completed": "was trained for {done}",
    "stopped_early": "was trained for {share} and stopped early",
    "interrupted": "was interrupted after {share}",
    "diverged": "diverged after {share}",
    "failed": "failed after {share}",
}


def verdict(facts: RunFacts) -> Section:
    """What was trained on what, how good it is, what stands out first; then the rest that stands out."""
    noticed = remarks(facts)
    first = noticed.found[0] if noticed.found else _nothing(noticed.clear)
    return Section(
        key="verdict",
        title="Verdict",
        template="verdict.html",
        values={
            "sentences": (trained(facts), good(facts), first),
            "more": noticed.found[1:],
            "figures": _figures(facts),
        },
    )


def trained(facts: RunFacts) -> str:
    """What was trained on what, and how it ended."""
    settings, data = facts.settings, facts.data
    asked = facts.epochs[-1]["epochs"] if facts.epochs else settings.get("epochs", 0)
    how = _ENDS.get(facts.status, f"ended as {facts.status} after {{done}}")
    done = several(len(facts.epochs), "epoch")
    told = how.format(done=done, share=f"{done} of {asked}" if asked else done)
    sentence = f"{settings.get('model', facts.name)}{_start(settings)} {told}"
    if facts.status != "running" and facts.reason and facts.status != "completed":
        sentence += f" ({facts.reason.rstrip('.')})"
    if data.get("classes"):
        sentence += f", on {several(facts.pictures('train'), 'picture')} of {several(len(data['classes']), 'class')}"
        sentence += f" from {PurePath(data['path']).name}" if data.get("path") else ""
    return f"{sentence}."


def good(facts: RunFacts) -> str:
    """How good it is, with its interval; says so when only the validation split can tell, or nothing can."""
    if facts.evaluation is not None:
        found = facts.evaluation
        span = percent_span(accuracy_interval(found))
        pictures = several(found["n"], f"{facts.split} picture")
        return (
            f"Of {pictures} it gets {percent(found['accuracy'])} right (95% interval {span}), "
            f"macro F1 {score(found['macro_f1'])}."
        )
    best, seen = facts.best, facts.pictures("valid")
    if best is None or "accuracy" not in best["valid"] or not seen:
        return "It has not been evaluated."
    share = best["valid"]["accuracy"]
    span = percent_span(wilson(min(share * seen, seen), seen))
    return (
        f"Of {several(seen, 'validation picture')} it gets {percent(share)} right (95% interval {span}), "
        "a little flattering since that split chose the epoch; a test split has not been evaluated."
    )


def _start(settings: dict[str, object]) -> str:
    if "weights" not in settings:
        return ""
    weights, freeze = str(settings["weights"]), str(settings.get("freeze", "none"))
    start = {"none": "from random weights", "default": "pretrained"}.get(weights, f"from {PurePath(weights).name}")
    held = {"none": "", "backbone": ", backbone frozen"}.get(freeze, f", frozen up to {freeze}")
    return f" ({start}{held})"


def _nothing(clear: tuple[str, ...]) -> str:
    if not clear:
        return "There is not enough yet to say what stands out."
    return f"Nothing stands out; looked at: {', '.join(clear)}."


def _figures(facts: RunFacts) -> list[tuple[str, str, str]]:
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
        rate = f"{facts.images_per_second:,.0f} pictures/s" if facts.images_per_second else "in all"
        shown.append(("training time", duration(facts.seconds), rate))
    return shown
