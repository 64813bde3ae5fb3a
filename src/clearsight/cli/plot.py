"""plot: a series as a line plot of characters, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bits of a braille cell's dots, by row and column
_BRAILLE = 0x2800  # the empty braille cell
_MIN_COLUMNS = 8  # a narrower plot shows nothing

Grid: TypeAlias = list[list[bool]]  # (height, width) dots


def plot(points: Sequence[tuple[int, float]], width: int, height: int, *, unicode: bool = True) -> list[str]:
    """Return the lines of a plot with numbers at both axes: at most `width` columns and `height` lines.

    points: (step, value), steps ascending; a value that is not finite leaves a gap.  width: at least 20.
    height: at least 4.  unicode: braille dots, two by four to a character; else ASCII, one star each.
    """
    finite = [value for _, value in points if math.isfinite(value)]
    if not finite:
        return ["no finite values"]
    low, high = min(finite), max(finite)
    labels = _labels(low, high)
    margin = max(map(len, labels)) + 2
    columns, rows = max(width - margin, _MIN_COLUMNS), max(height - 2, 2)  # two lines for the axis and its numbers
    across, down = (2, 4) if unicode else (1, 1)
    grid = _draw(points, (low, high), columns * across, rows * down)
    body = _braille(grid) if unicode else ["".join("*" if dot else " " for dot in row) for row in grid]
    side, corner, floor = ("│", "└", "─") if unicode else ("|", "+", "-")
    row_labels = {len(body) // 2: labels[0]} if low == high else {0: labels[1], len(body) - 1: labels[0]}
    lines = [f"{row_labels.get(row, ''):>{margin - 2}} {side}{line}".rstrip() for row, line in enumerate(body)]
    first, last = str(points[0][0]), str(points[-1][0])
    axis = first if len(first) + len(last) + 1 > columns else f"{first}{last:>{columns - len(first)}}"
    return [*lines, " " * (margin - 1) + corner + floor * columns, " " * margin + axis]


def _labels(low: float, high: float) -> tuple[str, str]:
    """Return both numbers with as many digits as tell them apart, at least four."""
    for digits in range(4, 17):
        labels = f"{low:.{digits}g}", f"{high:.{digits}g}"
        if labels[0] != labels[1] or low == high:
            return labels
    return repr(low), repr(high)  # the shortest text that differs for any two floats


def _draw(points: Sequence[tuple[int, float]], span: tuple[float, float], width: int, height: int) -> Grid:
    """Return the dots (height, width) of the points, and of lines between neighbours that are both finite."""
    grid: Grid = [[False] * width for _ in range(height)]
    low, high = span
    first, length = points[0][0], max(points[-1][0] - points[0][0], 1)
    # Halved first: the distance between the largest and the smallest float is not a float.
    spread = high / 2 - low / 2
    previous: tuple[int, int] | None = None
    for step, value in points:
        if not math.isfinite(value):
            previous = None
            continue
        share = (value / 2 - low / 2) / spread if spread > 0 else 0.5
        point = round((step - first) / length * (width - 1)), round((1 - share) * (height - 1))
        for x, y in _line(previous or point, point):
            grid[y][x] = True
        previous = point
    return grid


def _line(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    count = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (round(start[0] + (end[0] - start[0]) * i / count), round(start[1] + (end[1] - start[1]) * i / count))
        for i in range(count + 1)
    ]


def _braille(grid: Grid) -> list[str]:
    lines = []
    for top in range(0, len(grid), 4):
        cells = []
        for left in range(0, len(grid[0]), 2):
            dots = sum(_DOTS[y][x] for y in range(4) for x in range(2) if grid[top + y][left + x])
            cells.append(chr(_BRAILLE + dots) if dots else " ")
        lines.append("".join(cells))
    return lines
