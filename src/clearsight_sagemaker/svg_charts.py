"""Small charts as inline SVG, without scripts and without other files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

# Eight colours of similar brightness; a ninth part repeats the first.
_COLOURS = ("#3b6ea8", "#d98a3d", "#5a9e6f", "#b0566f", "#8673b5", "#8a8a8a", "#c2a83e", "#4fa3a5")
_WIDTH, _ROW, _NAMES = 640, 26, 150  # pixels: chart, row of a box, column of the row names


def shares(parts: Mapping[str, float], unit: str = "s") -> Markup:
    """Draw parts of a whole as one bar with a legend of amounts and shares; "" if all parts are 0."""
    whole = sum(parts.values())
    if whole <= 0:
        return Markup("")
    bar, legend, left = [], [], 0.0
    for place, (name, amount) in enumerate(parts.items()):
        colour, width = _COLOURS[place % len(_COLOURS)], _WIDTH * amount / whole
        bar.append(f'<rect x="{left:.1f}" y="0" width="{width:.1f}" height="24" fill="{colour}"/>')
        text = f"{escape(name)}: {amount:.3g} {escape(unit)} ({100 * amount / whole:.1f} %)"
        legend.append(f'<li><span class="key" style="background:{colour}"></span>{text}</li>')
        left += width
    return _svg(bar, 24) + Markup('<ul class="legend">' + "".join(legend) + "</ul>")


def boxes(rows: Mapping[str, Mapping[str, float]]) -> Markup:
    """Draw a box per row on a scale from 0 to 100 %; "" without rows.  rows: name -> {"p5": value, ... "p95": value}.

    The box goes from the 25th to the 75th percentile, its line is the 50th, its whiskers are the 5th and the 95th.
    """
    if not rows:
        return Markup("")
    parts = [f'<text x="{_x(at):.1f}" y="12" class="scale">{at} %</text>' for at in (0, 50, 100)]
    for place, (name, box) in enumerate(rows.items()):
        middle = 18 + _ROW * place + _ROW / 2
        title = ", ".join(f"{point[1:]}th {box[point]:.3g}" for point in ("p5", "p25", "p50", "p75", "p95"))
        # At least one pixel, so that a box of equal percentiles can be seen.
        width, median = max(1.0, _x(box["p75"]) - _x(box["p25"])), f"{_x(box['p50']):.1f}"
        parts += [
            f'<g><title>{escape(name)}: {title} %</title><text x="0" y="{middle + 4:.1f}">{escape(name)}</text>',
            f'<line x1="{_x(box["p5"]):.1f}" x2="{_x(box["p95"]):.1f}" y1="{middle}" y2="{middle}" class="whisker"/>',
            f'<rect x="{_x(box["p25"]):.1f}" y="{middle - 8}" width="{width:.1f}" height="16" fill="{_COLOURS[0]}"/>',
            f'<line x1="{median}" x2="{median}" y1="{middle - 8}" y2="{middle + 8}" class="median"/></g>',
        ]
    return _svg(parts, 18 + _ROW * len(rows))


def columns(counts: Sequence[int], edges: Sequence[float], unit: str) -> Markup:
    """Draw a histogram of counts (B,) between edges (B + 1,); "" if all counts are 0."""
    most = max(counts, default=0)
    if not most:
        return Markup("")
    width, full_height = _WIDTH / len(counts), 120
    parts = []
    for place, count in enumerate(counts):
        height, title = full_height * count / most, f"{edges[place]:.3g} to {edges[place + 1]:.3g} {unit}: {count}"
        parts.append(
            f'<rect x="{width * place:.1f}" y="{full_height - height:.1f}" width="{width - 1:.1f}" '
            f'height="{height:.1f}" fill="{_COLOURS[0]}"><title>{escape(title)}</title></rect>'
        )
    parts += [
        f'<text x="{x}" y="{full_height + 16}" text-anchor="{anchor}">{edge:.3g} {escape(unit)}</text>'
        for x, anchor, edge in ((0, "start", edges[0]), (_WIDTH, "end", edges[-1]))
    ]
    return _svg(parts, full_height + 22)


def histogram(values: npt.ArrayLike, unit: str) -> Markup:
    """Draw the histogram of some values in 40 bins; "" if there is no finite one."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return Markup("")
    counts, edges = np.histogram(known, 40)
    return columns(counts.tolist(), edges.tolist(), unit)


def curve(times: Sequence[float], values: Sequence[float], name: str) -> Markup:
    """Draw values over time with the range of both; "" without two points. times: seconds, ascending."""
    if len(values) < 2:
        return Markup("")
    height, low, high = 90, min(values), max(values)
    across, up = max(times[-1] - times[0], 1e-9), max(high - low, 1e-12)
    points = " ".join(
        f"{_WIDTH * (time - times[0]) / across:.1f},{24 + height * (high - value) / up:.1f}"
        for time, value in zip(times, values, strict=True)
    )
    parts = [
        f"<title>{escape(name)}: {len(values)} values, {low:.4g} to {high:.4g}</title>",
        f'<polyline points="{points}" fill="none" stroke="{_COLOURS[0]}" stroke-width="2"/>',
        f'<text x="0" y="15">{high:.4g}</text><text x="0" y="{height + 42}">{low:.4g}</text>',
        f'<text x="{_WIDTH}" y="{height + 42}" text-anchor="end">{across:.0f} s</text>',
    ]
    return _svg(parts, height + 46)


def _x(value: float) -> float:
    """Place a percentage on the scale, which leaves 30 pixels for the label of its end."""
    return _NAMES + (_WIDTH - _NAMES - 30) * min(max(value, 0.0), 100.0) / 100


def _svg(parts: Sequence[str], height: float) -> Markup:
    return Markup(f'<svg viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" role="img">{"".join(parts)}</svg>')
