"""Names, text and axes of objectives and other metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from clearsight.core.format import count, duration, rate
from clearsight.core.trial import Objective, Trial
from clearsight.reports.kit.format import UNKNOWN, general, percent, score

_NAMES = {"macro_f1": "macro F1", "roc_auc": "ROC-AUC", "images_per_second": "images/s"}
_LOG_RATIO = 100  # highest over lowest value; from here on only a logarithmic axis shows both
_FINE_RANGE = 0.06  # of an accuracy axis; in a narrower one whole per cents would repeat


def metric_name(metric: str) -> str:
    """Return a metric as text: "accuracy", "macro F1"."""
    return _NAMES.get(metric, metric.replace("_", " "))


def metric_title(metric: str) -> str:
    """Return a metric as the first word of a title."""
    name = metric_name(metric)
    return name[0].upper() + name[1:]


def format_metric(metric: str, value: float | None) -> str:
    """Return a value of a metric: "88.3%", "0.413", "4 min 05 s"; a value that is not finite is "nan" or "inf"."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return str(value)
    match metric:
        case "accuracy":
            return percent(value)
        case "macro_f1" | "roc_auc":
            return score(value)
        case "seconds":
            return duration(value)
        case "parameters":
            return count(round(value))  # stored as a float, like every objective
        case "images_per_second":
            return rate(value)
    return general(value)


def ranked(trials: Iterable[Trial], objective: Objective) -> list[Trial]:
    """Return scored trials, the best first; of equal values the first trial wins, as everywhere."""
    return sorted(trials, key=lambda trial: trial.values[0], reverse=objective.direction == "maximize")


def hover_format(metric: str, axis: str = "y") -> str:
    """Return the value of a metric in the hover text of a chart, as Plotly's template."""
    return f"%{{{axis}:.2%}}" if metric == "accuracy" else f"%{{{axis}:.4g}}"


def value_axis(objective: Objective, values: Iterable[float]) -> dict[str, Any]:
    """Return an axis for values of an objective, logarithmic where the highest is over 100 times the lowest."""
    finite = sorted(value for value in values if math.isfinite(value))
    axis: dict[str, Any] = {"title_text": metric_name(objective.metric), "nticks": 7}
    if objective.metric == "accuracy":
        return axis | {"tickformat": ".0%" if finite and finite[-1] - finite[0] > _FINE_RANGE else ".1%"}
    if finite and finite[0] > 0 and finite[-1] > _LOG_RATIO * finite[0]:
        return axis | {"type": "log", "exponentformat": "power", "dtick": 1}
    return axis
