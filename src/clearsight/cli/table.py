"""table: rows for people, in columns as wide as what stands in them."""

from __future__ import annotations

from collections.abc import Sequence

_GAP = "  "


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """A line for the head and one per row. right: the columns that are set flush right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        put = (
            f"{cell:>{w}}" if i in right else f"{cell:<{w}}"
            for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return _GAP.join(put).rstrip()

    return [line(head), *map(line, rows)]
