"""HTML of results in notebooks: small tables in the colours of the notebook, without scripts and other files."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from clearsight.core.finding import Series

_CELL = "padding:2px 8px 2px 0;text-align:{side};vertical-align:top;border:none"
_NAME = ";white-space:nowrap"  # the first column has names of two words at most, or of classes
_STROKES = ("#0072B2", "#D55E00")  # of Okabe and Ito 2008, as in the reports; legible on light and dark


def facts_html(title: str, facts: Iterable[tuple[str, str]], *more: str) -> str:
    """Return a title and a table of names and values; then `more`, which is HTML already."""
    rows = [(name, value) for name, value in facts if value]
    return f"<div><b>{html.escape(title)}</b>{table_html((), rows)}{''.join(more)}</div>"


def table_html(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return a table of text that scrolls sideways where it is too wide. right: columns aligned to the right."""
    # A notebook has styles of its own for tables, which stripe the rows and align everything to the right.
    styles = ["right" if column in right else "left" for column in range(max(len(head), 16))]

    def line(cells: Sequence[str], tag: str) -> str:
        inner = (
            f'<{tag} style="{_CELL.format(side=side)}{"" if column else _NAME}">{html.escape(cell)}</{tag}>'
            for column, (cell, side) in enumerate(zip(cells, styles, strict=False))
        )
        return f'<tr style="background:none">{"".join(inner)}</tr>'

    body = "".join(line(row, "td") for row in rows)
    top = line(head, "th") if head else ""
    return f'<div style="overflow-x:auto"><table style="margin:4px 0;border:none">{top}{body}</table></div>'


def curves_html(title: str, series: Sequence[Series]) -> str:
    """Return up to two series as a small line chart in SVG; "" where no value is finite."""
    values = [value for one in series for value in one.values if math.isfinite(value)]
    if not values:
        return ""
    low, high = min(values), max(values)
    steps = [step for one in series for step in one.steps]
    lines = "".join(
        f'<path d="{_path(one, (min(steps), max(steps)), (low, high))}" fill="none" stroke="{colour}" '
        'stroke-width="2" stroke-linecap="round"/>'
        for one, colour in zip(series, _STROKES, strict=False)
    )
    names = ", ".join(
        f'<span style="color:{colour}">{html.escape(one.name)}</span>'
        for one, colour in zip(series, _STROKES, strict=False)
    )
    label = f"{title}: {low:.4g} to {high:.4g}"
    return (
        f'<div style="display:inline-block;margin:4px 24px 4px 0">{html.escape(label)}<br>'
        f'<svg width="240" height="64" viewBox="0 0 240 64" role="img" aria-label="{html.escape(label)}">{lines}</svg>'
        f"<br>{names}</div>"
    )


def images_html(images: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return images side by side with lines of text below. images: (data URI, lines)."""
    cells = (
        f'<figure style="display:inline-block;margin:4px 12px 4px 0;vertical-align:top;max-width:160px">'
        f'<img src="{html.escape(source)}" alt="" style="width:128px;height:auto">'
        f'<figcaption style="overflow-wrap:anywhere">{"<br>".join(map(html.escape, lines))}</figcaption></figure>'
        for source, lines in images
    )
    return f"<div>{''.join(cells)}</div>"


def _path(series: Series, steps: tuple[int, int], values: tuple[float, float]) -> str:
    """Return the line of a series in a box of 240 x 64, with a gap where a value is not finite."""
    (start, end), (low, high) = steps, values
    commands, is_drawing = [], False
    for step, value in zip(series.steps, series.values, strict=True):
        if not math.isfinite(value):
            is_drawing = False
            continue
        x = 4 + 232 * ((step - start) / (end - start) if end > start else 0.5)
        y = 60 - 56 * ((value - low) / (high - low) if high > low else 0.5)
        commands.append(f"{'L' if is_drawing else 'M'}{x:.1f} {y:.1f}" + ("" if is_drawing else "h0"))
        is_drawing = True
    return "".join(commands)
