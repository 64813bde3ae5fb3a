"""Remarks: problems of a run that its scores and data show, the most urgent first.

Each check returns a sentence (the problem is there), "" (it is not) or None (too little data to tell).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clearsight.core.format import count, several
from clearsight.reports.kit.format import percent
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.statistics import share_interval

# A confusion is worth a remark from this share of the true class on, and from this many images: in a class of ten
# images, one or two mistakes are chance.
_CONFUSION_SHARE, _CONFUSION_IMAGES = 0.10, 3
_OVERFIT_GAP = 0.10  # training minus validation accuracy; smaller gaps are usual
_CALIBRATION_ERROR = 0.05  # ECE
_CLASSES_NAMED = 5


def remarks(report: RunReportData) -> tuple[list[str], list[str]]:
    """Return sentences about what was found, the most urgent first, and the names of the checks that found nothing.

    A check is left out where a rule has already found the same problem on this run.
    """
    found = {finding.rule for finding in report.findings if finding.found}
    results = [(name, check(report)) for name, check, rules in CHECKS if not found & rules]
    return [text for _, text in results if text], [name for name, text in results if text == ""]


def _not_better_than_largest_class(report: RunReportData) -> str | None:
    if report.evaluation is None:
        return None
    support = {name: int(row["support"]) for name, row in report.evaluation["per_class"].items()}
    largest = max(support, key=lambda name: support[name])
    share = support[largest] / max(1, report.evaluation["n"])
    interval = share_interval(report.evaluation["accuracy"], report.evaluation["n"])
    if interval is None or interval.low > share:
        return ""
    return (
        f"It is not clearly better than always predicting {largest}, which would be correct for {percent(share)} of "
        "the images."
    )


def _leaks(report: RunReportData) -> str | None:
    if not report.data or report.external:
        return None
    leak = next((notice for notice in report.notices if "leak" in notice["code"]), None)
    return "" if leak is None else str(leak["text"])


def _class_never_recognised(report: RunReportData) -> str | None:
    if report.evaluation is None:
        return None
    per_class = report.evaluation["per_class"]
    missed = [name for name, row in per_class.items() if row["support"] and not row["recall"]]
    if not missed:
        return ""
    left = len(missed) - _CLASSES_NAMED
    names = ", ".join(missed[:_CLASSES_NAMED]) + (f" and {count(left)} more" if left > 0 else "")
    return f"It recognises no image of {count(len(missed))} of {several(len(per_class), 'class')}: {names}."


def _overfit(report: RunReportData) -> str | None:
    best = report.best
    if best is None or "accuracy" not in best["train"] or "accuracy" not in best["valid"]:
        return None
    train, valid = best["train"]["accuracy"], best["valid"]["accuracy"]
    images = report.images("valid")
    # On few validation images a large gap may be chance; the training accuracy must lie above the interval.
    interval = share_interval(valid, images) if images else None
    if train - valid <= _OVERFIT_GAP or (interval is not None and train <= interval.high):
        return ""
    return (
        f"It overfits: the accuracy is {percent(train)} on the training images and {percent(valid)} on the validation "
        "split. More images, stronger augmentation or fewer trained layers would help."
    )


def _confused_pair(report: RunReportData) -> str | None:
    if report.evaluation is None:
        return None
    labels = report.evaluation["confusion"]["labels"]
    matrix = np.array(report.evaluation["confusion"]["matrix"], dtype=np.int64)
    totals = matrix.sum(axis=1)
    wrong = matrix - np.diag(np.diag(matrix))
    shares = np.where(wrong >= _CONFUSION_IMAGES, wrong / np.maximum(totals, 1)[:, None], 0)
    true, predicted = np.unravel_index(int(shares.argmax()), shares.shape)
    if shares[true, predicted] < _CONFUSION_SHARE:
        return ""
    return (
        f"The most frequent confusion: {labels[true]} is predicted as {labels[predicted]} for "
        f"{count(int(wrong[true, predicted]))} of {several(int(totals[true]), 'image')} "
        f"({percent(float(shares[true, predicted]))})."
    )


def _badly_calibrated(report: RunReportData) -> str | None:
    if report.evaluation is None or report.evaluation.get("ece") is None or not report.reliability:
        return None
    if report.evaluation["ece"] <= _CALIBRATION_ERROR:
        return ""
    filled = [bin_ for bin_ in report.reliability if bin_["count"]]
    gap = sum(bin_["count"] * (bin_["confidence"] - bin_["accuracy"]) for bin_ in filled)
    points = f"{100 * report.evaluation['ece']:.1f} percentage points"
    direction = "overconfident" if gap > 0 else "underconfident"
    return f"It is {direction}: confidence and accuracy differ by {points} on average."


# Name, check, and the rules that look for the same problem with better evidence. The most urgent first: the first one
# that finds something becomes a sentence of the verdict.
CHECKS: tuple[tuple[str, Callable[[RunReportData], str | None], set[str]], ...] = (
    ("better than the largest class", _not_better_than_largest_class, {"NotLearning", "HeadNotLearning"}),
    ("leaks between splits", _leaks, {"DataLeak"}),
    ("classes never recognised", _class_never_recognised, set()),
    ("overfitting", _overfit, {"Overfit", "Overtraining"}),
    ("pairs of classes often confused", _confused_pair, {"Confusion"}),
    ("calibration", _badly_calibrated, set()),
)
