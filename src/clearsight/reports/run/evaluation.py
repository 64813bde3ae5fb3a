"""Section of the evaluation: scores with intervals, confusion matrix, classes, calibration and galleries of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import calibration_text
from clearsight.core.format import count, several
from clearsight.core.statistics import wilson
from clearsight.reports.charts.learning import confusion_matrix, per_class_bars, reliability_diagram
from clearsight.reports.kit.format import UNKNOWN, percent, percent_span, score, score_span
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.statistics import macro_f1_interval, roc_auc_interval, share_interval

CLASSES_DRAWN = 30  # a chart of more classes cannot be read; tables hold them all
MISTAKES_SHOWN = 24
TYPICAL_SHOWN = 12
_CLASSES_IN_HALF_WIDTH = 8  # a matrix of more classes needs the page's whole width
_LABELS_WIDTH, _COLUMN_WIDTH = 180, 20  # pixels of a matrix: names of the rows, and a column that can be read
_CONFUSIONS_LISTED = 40


def evaluation(report: RunReportData) -> PageSection | None:
    """Return the section; None when nothing was evaluated."""
    if report.evaluation is None:
        return None
    scores, classes = _scores(report.evaluation), _class_table(report.evaluation)
    return PageSection(
        key="evaluation",
        title="Evaluation",
        template="run/evaluation.html",
        values={
            "about": f"On {several(report.evaluation['n'], 'image')} of the {report.split} split.",
            "scores": scores,
            "classes": classes,
            "mistakes": _gallery(report.mistakes[:MISTAKES_SHOWN]),
            "mistakes_left": max(0, len(report.mistakes) - MISTAKES_SHOWN),
            "typical": _gallery(report.typical[:TYPICAL_SHOWN]),
        },
        panels=tuple(_panels(report, report.evaluation)),
        tables=(scores, classes),
    )


def worst_classes(matrix: npt.NDArray[np.int64], most: int = CLASSES_DRAWN) -> list[int]:
    """Return the `most` classes with the most mistakes, as true or as predicted class, as indices in class order.

    matrix: (C, C) counts, true classes in rows.
    """
    wrong = matrix - np.diag(np.diag(matrix))
    # Both directions: a class that others are taken for is as interesting as one that is missed.
    order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
    return sorted(int(index) for index in order[:most])


def _panels(report: RunReportData, scores: Mapping[str, Any]) -> list[Panel]:
    """Return the charts; with few classes, confusion matrix and calibration share a row."""
    calibration = [_reliability(report)] if any(bin_["count"] for bin_ in report.reliability) else []
    if len(scores["per_class"]) <= _CLASSES_IN_HALF_WIDTH:
        return [_confusion(scores, wide=False), *calibration, _classes(scores, wide=bool(calibration))]
    return [_confusion(scores, wide=True), _classes(scores, wide=False), *calibration]


def _scores(scores: Mapping[str, Any]) -> Table:
    support = [int(row["support"]) for row in scores["per_class"].values()]  # in the order of the class map
    accuracy = percent_span(share_interval(scores["accuracy"], scores["n"]))
    rows = [("Accuracy", percent(scores["accuracy"]), accuracy, "share of images that are predicted correctly")]
    # Among five classes the true one is always in the first five.
    if scores.get("top5") is not None and len(support) > 5:
        interval = percent_span(share_interval(scores["top5"], scores["n"]))
        rows.append(("Top-5 accuracy", percent(scores["top5"]), interval, "true class among the five most probable"))
    f1 = macro_f1_interval(scores["confusion"]["matrix"])
    rows.append(("Macro F1", score(scores["macro_f1"]), score_span(f1), "mean F1 over classes, each with equal weight"))
    if scores.get("roc_auc") is not None and len(support) == 2:
        area = roc_auc_interval(scores["roc_auc"], support[1], support[0])
        meaning = "probability that a positive image ranks above a negative one"
        rows.append(("ROC-AUC", score(scores["roc_auc"]), score_span(area), meaning))
    if scores.get("ece") is not None:
        meaning = "ECE: mean gap between confidence and accuracy"
        rows.append(("Calibration error", percent(scores["ece"]), UNKNOWN, meaning))  # no interval is known for ECE
    rows += _served(scores)
    return table("Scores", ("score", "value", "95% interval", "meaning"), "lrrl", rows)


def _served(scores: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the loss of the served probabilities, and what the calibration has changed; nothing in older runs."""
    if scores.get("loss_served") is None:
        return []
    temperature = float(scores["temperature"])
    rows = [("Loss as served", score(scores["loss_served"]), UNKNOWN, "cross-entropy in nats, lower is better")]
    if temperature != 1:
        rows.append(("Loss without calibration", score(scores["loss"]), UNKNOWN, "of the network's own probabilities"))
        uncalibrated = percent(scores["ece_uncalibrated"])
        rows.append(("Calibration error without it", uncalibrated, UNKNOWN, "ECE of the network's own probabilities"))
    text = calibration_text(temperature, scores.get("calibration") or {})
    return [*rows, ("Temperature", score(temperature), UNKNOWN, text)]


def _confusion(scores: Mapping[str, Any], *, wide: bool) -> Panel:
    labels, matrix = scores["confusion"]["labels"], np.array(scores["confusion"]["matrix"], dtype=np.int64)
    visible = worst_classes(matrix)
    names = [labels[index] for index in visible]
    note = "Rows are true classes, columns predicted classes. A darker cell is a larger share of its row."
    if len(visible) < len(labels):
        note += f" Shown are the {len(visible)} of {count(len(labels))} classes with the most mistakes."
    totals, wrong = matrix.sum(axis=1), matrix - np.diag(np.diag(matrix))
    # Stable, so that equally frequent confusions keep the order of the classes and the page its bytes.
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS_LISTED]
    rows = []
    for index in order:
        true, predicted = divmod(int(index), len(labels))
        if images := int(wrong[true, predicted]):
            rows.append((labels[true], labels[predicted], count(images), percent(images / totals[true])))
    columns = ("true class", "predicted as", "images", "share of the true class")
    return Panel(
        key="confusion",
        title="Confusion matrix",
        description=f"Confusion matrix of {several(len(visible), 'class')}; the table lists the mistakes.",
        figure=confusion_matrix(names, matrix[np.ix_(visible, visible)], totals[visible].tolist()),
        table=table("Most frequent confusions", columns, "llrr", rows),
        note=note,
        wide=wide,
        least_width=_LABELS_WIDTH + _COLUMN_WIDTH * len(visible) if wide else 0,
    )


def _classes(scores: Mapping[str, Any], *, wide: bool) -> Panel:
    # Without images a class has no recall, and its F1 of 0 says nothing.
    by_class = {name: row for name, row in scores["per_class"].items() if row["support"]}
    worst = sorted(by_class, key=lambda name: by_class[name]["f1"])[:CLASSES_DRAWN]
    visible = {name: by_class[name] for name in worst}
    note = f"Shown are the {len(worst)} of {count(len(by_class))} classes with the lowest F1."
    rows = [(name, *(score(row[key]) for key in ("f1", "precision", "recall"))) for name, row in visible.items()]
    return Panel(
        key="classes",
        title="F1, precision and recall by class",
        description=f"F1, precision and recall of {several(len(worst), 'class')}.",
        figure=per_class_bars(visible),
        table=table("Classes, lowest F1 first", ("class", "F1", "precision", "recall"), "lrrr", rows),
        note=note if len(worst) < len(by_class) else "",
        wide=wide,
    )


def _class_table(scores: Mapping[str, Any]) -> Table:
    labels = scores["confusion"]["labels"]
    matrix = np.array(scores["confusion"]["matrix"], dtype=np.int64)
    # Without images the interval would be (0, 1), which says nothing.
    counts = zip(labels, np.diag(matrix), matrix.sum(axis=1), strict=True)
    intervals = {name: wilson(int(correct), int(images)) for name, correct, images in counts if images}
    rows = [
        (
            name,
            count(int(row["support"])),
            score(row["precision"]),
            score(row["recall"]),
            score_span(intervals.get(name)),
            score(row["f1"]),
        )
        for name, row in sorted(scores["per_class"].items(), key=lambda item: item[1]["f1"])
    ]
    columns = ("class", "images", "precision", "recall", "95% interval of recall", "F1")
    return table("Every class, lowest F1 first", columns, "lrrrrr", rows)


def _reliability(report: RunReportData) -> Panel:
    filled = [bin_ for bin_ in report.reliability if bin_["count"]]
    rows = [(percent(bin_["confidence"]), percent(bin_["accuracy"]), count(int(bin_["count"]))) for bin_ in filled]
    return Panel(
        key="reliability",
        title="Calibration",
        description="Accuracy against confidence; on the diagonal they are equal.",
        figure=reliability_diagram(report.reliability),
        table=table("Calibration", ("confidence", "accuracy", "images"), "rrr", rows),
        note="Below the diagonal the model is overconfident, above it underconfident. Bars are 95% intervals.",
    )


def _gallery(images: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"thumbnail": "", **image, "probability": percent(image["probability"])} for image in images]
