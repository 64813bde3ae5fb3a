"""How an objective is named, written and drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from clearsight.core.trial import Objective
from clearsight.reports.kit.format import UNKNOWN, count, duration, general, percent, score

_NAMES = {"macro_f1": "macro F1", "roc_auc": "ROC-AUC", "images_per_second": "images/s"}
_WIDE = 100  # from this ratio of high to low on, only a logarithmic axis shows both


def named(metric: str) -> str:
    """A metric in words: "accuracy", "macro F1"."""
    return _NAMES.get(metric, metric.replace("_", " "))


def titled(metric: str) -> str:
    """A metric as the first word of a title."""
    name = named(metric)
    return name[0].upper() + name[1:]


def written(metric: str, value: float | None) -> str:
    """A value of a metric: "88.3%", "0.413", "4 min 05 s"; what is no finite number is said."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return str(value)
    if metric == "accuracy":
        return percent(value)
    if metric in ("macro_f1", "roc_auc"):
        return score(value)
    if metric == "seconds":
        return duration(value)
    if metric == "parameters":
        return count(round(value))
    return f"{value:,.0f}" if metric == "images_per_second" else general(value)


def hover(metric: str, axis: str = "y") -> str:
    """The same for a chart's hover text."""
    return f"%{{{axis}:.2%}}" if metric == "accuracy" else f"%{{{axis}:.4g}}"


def value_axis(aim: Objective, values: Iterable[float]) -> dict[str, Any]:
    """An axis for values of an objective; logarithmic where only that shows the low ones beside the high."""
    finite = sorted(value for value in values if math.isfinite(value))
    axis: dict[str, Any] = {"title_text": named(aim.metric), "nticks": 7}
    if aim.metric == "accuracy":
        return axis | {"tickformat": ".0%" if finite and finite[-1] - finite[0] > 0.06 else ".1%"}
    if finite and finite[0] > 0 and finite[-1] > _WIDE * finite[0]:
        return axis | {"type": "log", "exponentformat": "power", "dtick": 1}
    return axis


def short(value: float) -> float | None:
    """Five digits are more than a chart can show; what is not finite is a gap."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
