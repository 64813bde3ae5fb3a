"""Drawings: small charts as inline SVG, without a script and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from clearsight_sagemaker.distribution import Distribution

_COLOURS = ("#3b6ea8", "#d98a3d", "#5a9e6f", "#b0566f", "#8673b5", "#8a8a8a", "#c2a83e", "#4fa3a5")
_WIDE, _ROW, _NAMES = 640, 26, 150


def shares(parts: Mapping[str, float], unit: str = "s") -> Markup:
    """Parts of a whole as one bar and a legend, each with its amount and its share; "" where they are all nothing."""
    whole = sum(parts.values())
    if whole <= 0:
        return Markup("")
    bar, legend, left = [], [], 0.0
    for place, (name, amount) in enumerate(parts.items()):
        colour, width = _COLOURS[place % len(_COLOURS)], _WIDE * amount / whole
        bar.append(f'<rect x="{left:.1f}" y="0" width="{width:.1f}" height="24" fill="{colour}"/>')
        told = f"{escape(name)}: {amount:.3g} {escape(unit)} ({100 * amount / whole:.1f} %)"
        legend.append(f'<li><span class="key" style="background:{colour}"></span>{told}</li>')
        left += width
    return _svg(bar, 24) + Markup('<ul class="legend">' + "".join(legend) + "</ul>")


def boxes(rows: Mapping[str, Distribution], unit: str = "%") -> Markup:
    """A box per row on a scale from 0 to 100: from the 25th to the 75th percentile, its line the 50th, whiskers from
    the 5th to the 95th; "" without rows."""
    if not rows:
        return Markup("")
    drawn = [f'<text x="{_x(at):.1f}" y="12" class="scale">{at} {escape(unit)}</text>' for at in (0, 50, 100)]
    for place, (name, box) in enumerate(rows.items()):
        middle = 18 + _ROW * place + _ROW / 2
        told = (
            f"5th {box.p5:.3g}, 25th {box.p25:.3g}, 50th {box.p50:.3g}, 75th {box.p75:.3g}, 95th {box.p95:.3g} {unit}"
        )
        width, median = max(1.0, _x(box.p75) - _x(box.p25)), f"{_x(box.p50):.1f}"
        drawn += [
            f'<g><title>{escape(name)}: {escape(told)}</title><text x="0" y="{middle + 4:.1f}">{escape(name)}</text>',
            f'<line x1="{_x(box.p5):.1f}" x2="{_x(box.p95):.1f}" y1="{middle}" y2="{middle}" class="whisker"/>',
            f'<rect x="{_x(box.p25):.1f}" y="{middle - 8}" width="{width:.1f}" height="16" fill="{_COLOURS[0]}"/>',
            f'<line x1="{median}" x2="{median}" y1="{middle - 8}" y2="{middle + 8}" class="median"/></g>',
        ]
    return _svg(drawn, 18 + _ROW * len(rows))


def columns(counts: Sequence[int], edges: Sequence[float], unit: str) -> Markup:
    """A histogram: counts (B,) between edges (B + 1,); "" where nothing was counted."""
    most = max(counts, default=0)
    if not most:
        return Markup("")
    wide, tall = _WIDE / len(counts), 120
    drawn = []
    for place, count in enumerate(counts):
        height, told = tall * count / most, f"{edges[place]:.3g} to {edges[place + 1]:.3g} {unit}: {count}"
        drawn.append(
            f'<rect x="{wide * place:.1f}" y="{tall - height:.1f}" width="{wide - 1:.1f}" height="{height:.1f}" '
            f'fill="{_COLOURS[0]}"><title>{escape(told)}</title></rect>'
        )
    ends = ((0, "start", edges[0]), (_WIDE, "end", edges[-1]))
    drawn += [
        f'<text x="{x}" y="{tall + 16}" text-anchor="{anchor}">{at:.3g} {escape(unit)}</text>' for x, anchor, at in ends
    ]
    return _svg(drawn, tall + 22)


def histogram(values: npt.ArrayLike, unit: str, bins: int = 40) -> Markup:
    """How often which values came; "" without any finite one."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return Markup("")
    counts, edges = np.histogram(known, bins)
    return columns(counts.tolist(), edges.tolist(), unit)


def _x(value: float) -> float:
    return _NAMES + (_WIDE - _NAMES - 30) * min(max(value, 0.0), 100.0) / 100


def _svg(parts: Sequence[str], height: float) -> Markup:
    return Markup(f'<svg viewBox="0 0 {_WIDE} {height:g}" width="{_WIDE}" role="img">{"".join(parts)}</svg>')
