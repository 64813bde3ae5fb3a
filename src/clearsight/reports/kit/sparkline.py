"""A line the size of a word or two, drawn as SVG inside the page: light, printable, and told in words too."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clearsight.core.finding import Series
from clearsight.reports.kit.format import general, several
from clearsight.reports.kit.section import Table, table

WIDTH, HEIGHT = 240, 48
_PAD = 4
_ROWS = 10


@dataclass(frozen=True)
class Sparkline:
    """path: of an SVG of WIDTH by HEIGHT.  says: what it shows, for who cannot see it.  beneath: the same, shorter."""

    name: str
    path: str
    says: str
    beneath: str
    table: Table


def sparkline(series: Series) -> Sparkline | None:
    """The line of a series; None where nothing of it is finite. Where a value is not, the line has a gap."""
    pairs = list(zip(series.steps, series.values, strict=True))
    finite = [(step, value) for step, value in pairs if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    (first, began), (last, ended) = finite[0], finite[-1]
    shown = pairs[:: max(1, math.ceil(len(pairs) / _ROWS))]
    return Sparkline(
        name=series.name,
        path=_path(pairs, low, high),
        says=f"{series.name}: {general(began)} at step {first}, {general(ended)} at step {last}, "
        f"from {general(low)} to {general(high)} over {several(len(pairs), 'point')}.",
        beneath=f"{general(began)} → {general(ended)}, between {general(low)} and {general(high)}",
        table=table(series.name, ("step", "value"), "rr", [(step, general(value)) for step, value in shown]),
    )


def _path(pairs: list[tuple[int, float]], low: float, high: float) -> str:
    begin, end = pairs[0][0], pairs[-1][0]
    words, pen_down = [], False
    for step, value in pairs:
        if not math.isfinite(value):
            pen_down = False
            continue
        x = _PAD + (WIDTH - 2 * _PAD) * ((step - begin) / (end - begin) if end > begin else 0.5)
        y = HEIGHT - _PAD - (HEIGHT - 2 * _PAD) * ((value - low) / (high - low) if high > low else 0.5)
        # A point on its own is drawn as a line of no length, which a round cap makes visible.
        words.append(f"L{x:.1f} {y:.1f}" if pen_down else f"M{x:.1f} {y:.1f}h0")
        pen_down = True
    return "".join(words)
