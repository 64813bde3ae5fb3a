"""Remarks: what stands out in a run, most pressing first.

Each check answers with a sentence (it stands out), "" (looked, nothing there) or None (not enough data to look).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clearsight.core.statistics import wilson
from clearsight.reports.kit.format import count, percent, several
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.statistics import accuracy_interval

_PAIR_SHARE, _PAIR_COUNT = 0.10, 3  # a confusion is worth a word from these on
_OVERFIT_GAP = 0.10
_MISCALIBRATION = 0.05


@dataclass(frozen=True)
class Remarks:
    """found: sentences, most pressing first.  clear: names of the checks that found nothing."""

    found: tuple[str, ...]
    clear: tuple[str, ...]


def remarks(facts: RunReportData) -> Remarks:
    """Every check on one run, but for what a rule has already found on it."""
    found = {finding.rule for finding in facts.findings if finding.found}
    answers = [(name, check(facts)) for name, check in CHECKS if not found & _SAID_BY.get(name, set())]
    return Remarks(tuple(text for _, text in answers if text), tuple(name for name, text in answers if text == ""))


def _no_better_than_guessing(facts: RunReportData) -> str | None:
    if facts.evaluation is None:
        return None
    support = {name: int(row["support"]) for name, row in facts.evaluation["per_class"].items()}
    largest = max(support, key=lambda name: support[name])
    share, span = support[largest] / max(1, facts.evaluation["n"]), accuracy_interval(facts.evaluation)
    if span is None or span.low > share:
        return ""
    return (
        f"It is not clearly better than always answering {largest}, which would be right in {percent(share)} of the "
        "images."
    )


def _leaks(facts: RunReportData) -> str | None:
    if not facts.data:
        return None
    leak = next((notice for notice in facts.notices if "leak" in notice["code"]), None)
    return "" if leak is None else str(leak["text"])


def _class_never_found(facts: RunReportData) -> str | None:
    if facts.evaluation is None:
        return None
    lost = [name for name, row in facts.evaluation["per_class"].items() if row["support"] and not row["recall"]]
    if not lost:
        return ""
    named = ", ".join(lost[:5]) + (f" and {count(len(lost) - 5)} more" if len(lost) > 5 else "")
    classes = several(len(facts.evaluation["per_class"]), "class")
    return f"It never recognises {count(len(lost))} of {classes}: {named}."


def _overfit(facts: RunReportData) -> str | None:
    best = facts.best
    if best is None or "accuracy" not in best["train"] or "accuracy" not in best["valid"]:
        return None
    train, valid = best["train"]["accuracy"], best["valid"]["accuracy"]
    images = facts.images("valid")
    sure = train > wilson(min(valid * images, images), images).high if images else True
    if train - valid <= _OVERFIT_GAP or not sure:
        return ""
    return (
        f"It overfits: {percent(train)} right on the training images, {percent(valid)} on the validation split; more "
        "images, stronger augmentation or fewer trained layers would help."
    )


def _confused_pair(facts: RunReportData) -> str | None:
    if facts.evaluation is None:
        return None
    labels = facts.evaluation["confusion"]["labels"]
    matrix = np.array(facts.evaluation["confusion"]["matrix"], dtype=np.int64)
    totals = matrix.sum(axis=1)
    wrong = matrix - np.diag(np.diag(matrix))
    shares = np.where(wrong >= _PAIR_COUNT, wrong / np.maximum(totals, 1)[:, None], 0)
    true, predicted = np.unravel_index(int(shares.argmax()), shares.shape)
    if shares[true, predicted] < _PAIR_SHARE:
        return ""
    return (
        f"Its most common confusion is {labels[true]} taken for {labels[predicted]}: "
        f"{count(int(wrong[true, predicted]))} of {several(int(totals[true]), 'image')} "
        f"({percent(float(shares[true, predicted]))})."
    )


def _badly_calibrated(facts: RunReportData) -> str | None:
    if facts.evaluation is None or facts.evaluation.get("ece") is None or not facts.reliability:
        return None
    if facts.evaluation["ece"] <= _MISCALIBRATION:
        return ""
    gap = sum(one["count"] * (one["confidence"] - one["accuracy"]) for one in facts.reliability if one["count"])
    much = "surer of itself than it should be" if gap > 0 else "less sure of itself than it could be"
    return f"It is {much}: confidence and accuracy differ by {100 * facts.evaluation['ece']:.1f} points on average."


CHECKS: tuple[tuple[str, Callable[[RunReportData], str | None]], ...] = (
    ("better than guessing", _no_better_than_guessing),
    ("leaks between splits", _leaks),
    ("classes never recognised", _class_never_found),
    ("overfitting", _overfit),
    ("pairs of classes often confused", _confused_pair),
    ("calibration", _badly_calibrated),
)
_SAID_BY = {
    "better than guessing": {"HeadNotLearning"},
    "leaks between splits": {"DataLeak"},
    "overfitting": {"Overfit", "Overtraining"},
    "pairs of classes often confused": {"Confusion"},
}
