"""Sparklines: lines the size of a few words, drawn as SVG inside the page, with their numbers as text and table."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clearsight.core.finding import Series
from clearsight.core.format import several
from clearsight.reports.kit.format import general
from clearsight.reports.kit.section import Table, table

WIDTH, HEIGHT = 240, 48  # units of the SVG's view box
_PAD = 4  # keeps the stroke inside the box
_ROWS = 10  # of the table


@dataclass(frozen=True)
class Sparkline:
    """Line with its text. path: of an SVG of WIDTH by HEIGHT.  description: for readers who cannot see it."""

    name: str
    path: str
    description: str
    caption: str
    table: Table


def sparkline(series: Series) -> Sparkline | None:
    """Return the line of a series, with a gap where a value is not finite; None for a series without finite values."""
    points = list(zip(series.steps, series.values, strict=True))
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    (first_step, first), (last_step, last) = finite[0], finite[-1]
    listed = points[:: max(1, math.ceil(len(points) / _ROWS))]
    return Sparkline(
        name=series.name,
        path=_path(points, low, high),
        description=f"{series.name}: {general(first)} at step {first_step}, {general(last)} at step {last_step}, "
        f"from {general(low)} to {general(high)} over {several(len(points), 'point')}.",
        caption=f"{general(first)} → {general(last)}, between {general(low)} and {general(high)}",
        table=table(series.name, ("step", "value"), "rr", [(step, general(value)) for step, value in listed]),
    )


def _path(points: list[tuple[int, float]], low: float, high: float) -> str:
    start, end = points[0][0], points[-1][0]
    commands, pen_down = [], False
    for step, value in points:
        if not math.isfinite(value):
            pen_down = False
            continue
        # A single step or a flat series has no extent: it stands in the middle.
        x = _PAD + (WIDTH - 2 * _PAD) * ((step - start) / (end - start) if end > start else 0.5)
        y = HEIGHT - _PAD - (HEIGHT - 2 * _PAD) * ((value - low) / (high - low) if high > low else 0.5)
        # A point on its own is drawn as a line of no length, which a round cap makes visible.
        commands.append(f"L{x:.1f} {y:.1f}" if pen_down else f"M{x:.1f} {y:.1f}h0")
        pen_down = True
    return "".join(commands)
