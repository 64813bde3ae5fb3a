"""plot: a series as lines of characters, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell, by row and column
_BRAILLE = 0x2800
_LEAST = 8  # columns or rows below which there is nothing to see

Grid = list[list[bool]]


def plot(steps: Sequence[int], values: Sequence[float], width: int, height: int, *, unicode: bool = True) -> list[str]:
    """A line plot with numbers at both axes: at most `width` columns and `height` lines.

    steps, values: (S,) each, steps ascending; what is not finite is left out and leaves a gap.  width: at least 20.
    height: at least 4.  unicode: braille dots, two by four to a character; else plain ASCII, one star each.
    """
    points = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    if not points:
        return ["no finite values"]
    low, high = min(value for _, value in points), max(value for _, value in points)
    names = _labels(low, high)
    margin = max(map(len, names)) + 2
    columns, rows = max(width - margin, _LEAST), max(height - 2, 2)
    across, down = (2, 4) if unicode else (1, 1)
    grid = _draw(steps, values, (low, high), columns * across, rows * down)
    body = _braille(grid) if unicode else ["".join("*" if dot else " " for dot in row) for row in grid]
    side, corner, floor = ("│", "└", "─") if unicode else ("|", "+", "-")
    places = {len(body) // 2: names[0]} if low == high else {0: names[1], len(body) - 1: names[0]}
    lines = [f"{places.get(i, ''):>{margin - 2}} {side}{line}".rstrip() for i, line in enumerate(body)]
    first, last = str(steps[0]), str(steps[-1])
    axis = first if len(first) + len(last) + 1 > columns else f"{first}{last:>{columns - len(first)}}"
    return [*lines, " " * (margin - 1) + corner + floor * columns, " " * margin + axis]


def _labels(low: float, high: float) -> tuple[str, str]:
    """The least and the largest value with as many digits as tell them apart."""
    for digits in range(4, 17):
        told = f"{low:.{digits}g}", f"{high:.{digits}g}"
        if told[0] != told[1] or low == high:
            return told
    return repr(low), repr(high)


def _draw(steps: Sequence[int], values: Sequence[float], span: tuple[float, float], width: int, height: int) -> Grid:
    """Dots (height, width): each point, and a line from it to the next where both are finite."""
    grid: Grid = [[False] * width for _ in range(height)]
    low, high = span
    first, length = steps[0], max(steps[-1] - steps[0], 1)
    # halves first: the distance between the two largest floats is not a float
    spread = high / 2 - low / 2
    before: tuple[int, int] | None = None
    for step, value in zip(steps, values, strict=True):
        if not math.isfinite(value):
            before = None
            continue
        share = (value / 2 - low / 2) / spread if spread > 0 else 0.5
        here = round((step - first) / length * (width - 1)), round((1 - share) * (height - 1))
        for x, y in _line(before or here, here):
            grid[y][x] = True
        before = here
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
