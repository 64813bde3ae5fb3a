"""A table on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from clearsight.core.errors import BadShape


@dataclass(frozen=True)
class Table:
    """Cells already in words; the first of each row names it.

    align: one letter per column, l for words and r for numbers.
    """

    caption: str
    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        wanted = len(self.columns)
        if len(self.align) != wanted or any(len(row) != wanted for row in self.rows):
            raise BadShape(f"table {self.caption!r}", f"every row and `align` must have {wanted} cells")

    def side(self, column: int) -> Literal["words", "number"]:
        """Which side the cells of a column stand on, as a CSS class."""
        return "number" if self.align[column] == "r" else "words"


def table(caption: str, columns: Sequence[str], align: str, rows: Iterable[Sequence[object]]) -> Table:
    """A Table of anything that can be written."""
    return Table(caption, tuple(columns), align, tuple(tuple(str(cell) for cell in row) for row in rows))
