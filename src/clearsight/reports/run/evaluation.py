"""The section of evaluation: scores with intervals, confusion, classes, calibration, and galleries of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.statistics import Interval, wilson
from clearsight.reports.charts.learning import confusion_matrix, per_class_bars, reliability_diagram
from clearsight.reports.kit.format import UNKNOWN, count, percent, percent_span, score, score_span, several
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.statistics import accuracy_interval, macro_f1_interval, roc_auc_interval

CLASSES_DRAWN = 30  # more classes than these are unreadable in a chart; tables hold them all
MISTAKES_SHOWN = 24
TYPICAL_SHOWN = 12
_CLASSES_BESIDE = 8  # a matrix of more classes needs the page's whole width
_CONFUSIONS_LISTED = 40


def evaluation(facts: RunReportData) -> PageSection | None:
    """None when nothing was evaluated."""
    if facts.evaluation is None:
        return None
    scores, classes = _scores(facts.evaluation), _class_table(facts.evaluation)
    return PageSection(
        key="evaluation",
        title="Evaluation",
        template="evaluation.html",
        values={
            "about": f"On {several(facts.evaluation['n'], 'image')} of the {facts.split} split.",
            "scores": scores,
            "classes": classes,
            "mistakes": [_answer(one) for one in facts.mistakes[:MISTAKES_SHOWN]],
            "mistakes_left": max(0, len(facts.mistakes) - MISTAKES_SHOWN),
            "typical": [_answer(one) for one in facts.typical[:TYPICAL_SHOWN]],
        },
        panels=tuple(_panels(facts, facts.evaluation)),
        tables=(scores, classes),
    )


def worst_classes(matrix: npt.NDArray[np.int64], most: int = CLASSES_DRAWN) -> list[int]:
    """Indices of the `most` classes with the most mistakes, as true or as predicted class, in class order."""
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
    return sorted(int(index) for index in order[:most])


def _panels(facts: RunReportData, found: Mapping[str, Any]) -> list[Panel]:
    """Few classes: confusion and calibration share a row; many: the matrix has its own and the classes stand beside."""
    calibrated = [_reliability(facts)] if any(one["count"] for one in facts.reliability) else []
    if len(found["per_class"]) <= _CLASSES_BESIDE:
        return [_confusion(found, wide=False), *calibrated, _classes(found, wide=bool(calibrated))]
    return [_confusion(found, wide=True), _classes(found, wide=False), *calibrated]


def _scores(found: Mapping[str, Any]) -> Table:
    support = [int(row["support"]) for row in found["per_class"].values()]
    rows = [("Accuracy", percent(found["accuracy"]), percent_span(accuracy_interval(found)), "images it gets right")]
    if found.get("top5") is not None and len(support) > 5:
        span = percent_span(accuracy_interval(found, "top5"))
        rows.append(("Top-5 accuracy", percent(found["top5"]), span, "right class among its first five"))
    f1 = macro_f1_interval(found["confusion"]["matrix"])
    rows.append(("Macro F1", score(found["macro_f1"]), score_span(f1), "mean F1, every class counting the same"))
    if found.get("roc_auc") is not None and len(support) == 2:
        area = roc_auc_interval(found["roc_auc"], support[1], support[0])
        rows.append(("ROC-AUC", score(found["roc_auc"]), score_span(area), "a positive ranks above a negative"))
    if found.get("ece") is not None:
        rows.append(("Calibration error", percent(found["ece"]), UNKNOWN, "ECE: mean gap of confidence and accuracy"))
    return table("Scores", ("score", "value", "95% interval", "what it says"), "lrrl", rows)


def _confusion(found: Mapping[str, Any], *, wide: bool) -> Panel:
    labels, matrix = found["confusion"]["labels"], np.array(found["confusion"]["matrix"], dtype=np.int64)
    drawn = worst_classes(matrix)
    note = "Rows are the true classes, columns what the model said; a cell is as dark as its share of the row."
    if len(drawn) < len(labels):
        note += f" Shown are the {len(drawn)} of {count(len(labels))} classes with the most mistakes."
    return Panel(
        key="confusion",
        title="Confusion matrix",
        says=f"Confusion matrix of {several(len(drawn), 'class')}; the table lists the mistakes.",
        figure=confusion_matrix(
            [labels[index] for index in drawn], matrix[np.ix_(drawn, drawn)], matrix.sum(axis=1)[drawn].tolist()
        ),
        table=_confusion_table(labels, matrix),
        note=note,
        wide=wide,
    )


def _confusion_table(labels: list[str], matrix: npt.NDArray[np.int64]) -> Table:
    totals, wrong = matrix.sum(axis=1), matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS_LISTED]
    cells = [divmod(int(index), len(labels)) for index in order if wrong.flat[index]]
    rows = [
        (labels[true], labels[said], count(int(wrong[true, said])), percent(float(wrong[true, said] / totals[true])))
        for true, said in cells
    ]
    columns = ("true class", "taken for", "images", "share of the true class")
    return table("Most frequent confusions", columns, "llrr", rows)


def _classes(found: Mapping[str, Any], *, wide: bool) -> Panel:
    scores = {name: row for name, row in found["per_class"].items() if row["support"]}
    worst = sorted(scores, key=lambda name: scores[name]["f1"])[:CLASSES_DRAWN]
    shown = {name: scores[name] for name in worst}
    note = f"Shown are the {len(worst)} of {count(len(scores))} classes with the lowest F1."
    rows = [(name, *(score(row[key]) for key in ("f1", "precision", "recall"))) for name, row in shown.items()]
    return Panel(
        key="classes",
        title="F1, precision and recall by class",
        says=f"F1, precision and recall of {several(len(worst), 'class')}.",
        figure=per_class_bars(shown),
        table=table("Classes, lowest F1 first", ("class", "F1", "precision", "recall"), "lrrr", rows),
        note=note if len(worst) < len(scores) else "",
        wide=wide,
    )


def _class_table(found: Mapping[str, Any]) -> Table:
    labels = found["confusion"]["labels"]
    matrix = np.array(found["confusion"]["matrix"], dtype=np.int64)
    spans = dict(zip(labels, map(_recall_interval, np.diag(matrix), matrix.sum(axis=1)), strict=True))
    rows = [
        (
            name,
            count(int(row["support"])),
            score(row["precision"]),
            score(row["recall"]),
            score_span(spans.get(name)),
            score(row["f1"]),
        )
        for name, row in sorted(found["per_class"].items(), key=lambda item: item[1]["f1"])
    ]
    columns = ("class", "images", "precision", "recall", "95% interval of recall", "F1")
    return table("Every class, lowest F1 first", columns, "lrrrrr", rows)


def _recall_interval(right: np.int64, support: np.int64) -> Interval | None:
    return wilson(int(right), int(support)) if support else None


def _reliability(facts: RunReportData) -> Panel:
    rows = [
        (percent(one["confidence"]), percent(one["accuracy"]), count(int(one["count"])))
        for one in facts.reliability
        if one["count"]
    ]
    return Panel(
        key="reliability",
        title="Calibration",
        says="How often the model is right against how sure it is; on the diagonal both agree.",
        figure=reliability_diagram(facts.reliability),
        table=table("Calibration", ("confidence", "right", "images"), "rrr", rows),
        note="Below the diagonal it is too sure of itself, above it too modest. Bars are 95% intervals.",
    )


def _answer(one: Mapping[str, Any]) -> dict[str, str]:
    return {
        "id": str(one["id"]),
        "true": str(one["true"]),
        "predicted": str(one["predicted"]),
        "sure": percent(one["probability"]),
        "thumbnail": str(one.get("thumbnail") or ""),
    }
