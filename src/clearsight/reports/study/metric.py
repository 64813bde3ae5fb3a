"""Names, text and axes of objectives and other metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import plotly.graph_objects as go

from clearsight.core.format import count, duration, rate
from clearsight.core.trial import Objective, Trial, rank_key
from clearsight.reports.charts.axes import set_score_axis
from clearsight.reports.kit.format import UNKNOWN, general, percent, score

_NAMES = {"macro_f1": "macro F1", "roc_auc": "ROC-AUC", "images_per_second": "images/s"}


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
    """Return scored trials, the best first, in the order by which the best trial is chosen."""
    return sorted(trials, key=lambda trial: rank_key(trial, objective))


def hover_format(metric: str, axis: str = "y") -> str:
    """Return the value of a metric in the hover text of a chart, as Plotly's template."""
    return f"%{{{axis}:.2%}}" if metric == "accuracy" else f"%{{{axis}:.4g}}"


def set_value_axis(
    figure: go.Figure, objective: Objective, values: Iterable[float], *, axis: Literal["x", "y"] = "y", **more: Any
) -> None:
    """Give the figure the axis of an objective's values, named after it; to be called after the traces were added."""
    named = {"title_text": metric_name(objective.metric), **more}
    set_score_axis(figure, objective.metric, values, axis=axis, **named)
