"""Axes of scores: within what a score can be, and logarithmic where its values span decades."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import plotly.graph_objects as go

LOG_RATIO = 30  # highest over lowest value; on a linear axis the lowest would be within 3 % of the edge
_DECADES_LABELLED = 3  # of more decades only the powers of ten are labelled
_SHORTEST, _LONGEST = 1e-4, 1e5  # values beyond these are labelled by powers, others as they are
_FINE_RANGE = 0.06  # of shares; in a narrower one whole per cents would repeat

_SHARE, _NOT_NEGATIVE = (0.0, 1.0), (0.0, None)
# Lowest and highest value that a score can have; a score that is not listed may have any.
_LIMITS: dict[str, tuple[float, float | None]] = {
    **dict.fromkeys(("accuracy", "top5", "macro_f1", "roc_auc", "hypervolume"), _SHARE),
    **dict.fromkeys(("loss", "grad_norm", "lr", "seconds", "parameters", "images_per_second"), _NOT_NEGATIVE),
}
_PERCENTS = ("accuracy", "top5", "hypervolume")


def score_axis(metric: str, values: Iterable[float | None]) -> dict[str, Any]:
    """Return the axis of a score for Plotly: logarithmic where the highest value is over LOG_RATIO times the lowest.

    values: all that are drawn; None and values that are not finite do not count.
    A linear axis ends where the score ends: an accuracy has no 105 %, a loss no -0.1.
    """
    finite = sorted(value for value in values if value is not None and math.isfinite(value))
    axis: dict[str, Any] = {"nticks": 7}
    if metric in _PERCENTS:
        axis["tickformat"] = ".0%" if finite and finite[-1] - finite[0] > _FINE_RANGE else ".1%"
    low, high = _LIMITS.get(metric, (None, None))
    # A share is read against 0 and 1; a score of 0 or less has no place on a logarithmic axis.
    if high is None and finite and finite[0] > 0 and finite[-1] > LOG_RATIO * finite[0]:
        decades = math.log10(finite[-1] / finite[0])
        # "D2" labels the twos and fives between the powers of ten too.
        ticks = {"dtick": 1 if decades > _DECADES_LABELLED else "D2"}
        is_long = finite[0] < _SHORTEST or finite[-1] > _LONGEST
        return axis | ticks | {"type": "log", "exponentformat": "power" if is_long else "none"}
    # A limit that some value breaks is wrong for this score: a loss of the user's own may be negative.
    limits = {}
    if low is not None and all(value >= low for value in finite):
        limits["clipmin"] = low
    if high is not None and all(value <= high for value in finite):
        limits["clipmax"] = high
    return axis | ({"autorangeoptions": limits} if limits else {})


def set_score_axis(
    figure: go.Figure, metric: str, values: Iterable[float | None], *, axis: Literal["x", "y"] = "y", **more: Any
) -> None:
    """Give the figure the axis of a score along x or y, with `more` settings of Plotly.

    To be called after the traces were added: markers at the end of the axis are then drawn whole.
    """
    update = figure.update_xaxes if axis == "x" else figure.update_yaxes
    update(**(score_axis(metric, values) | more))
    figure.update_traces(cliponaxis=False, selector={"type": "scatter"})
