"""Text that cannot act: names of files and classes as a terminal or a spreadsheet may see them.

A name may hold anything. Escape sequences would move the cursor or set the title of a terminal, bidirectional marks
would let a line read as another one, and a spreadsheet would compute a cell that begins like a formula.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from clearsight.core.files import json_text

# C0, DEL and C1 without tab and newline; marks of direction; separators of lines; surrogates, which no encoding has;
# invisible letters of the tags block, in which a text can hide another one.
_ACTING = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f"
)
_CONTROL = re.compile(f"[{_ACTING}]")
_FORMULA = re.compile(
    r"'*(?:[\s\x00-\x20\u200b\ufeff]*[=+\-@＝＋－＠]|[\t\r\n])"
)  # full-width signs too: spreadsheets read them alike
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


class StyledLine(str):
    """Line that is printable already and has colours of our own in it."""

    __slots__ = ()


def printable_line(text: str) -> str:
    r"""Return a line for a terminal or a log: as `printable`, and a newline in it is written as `\n`."""
    return text if isinstance(text, StyledLine) else printable(text).replace("\n", "\\n")


def printable(text: str) -> str:
    r"""Return text for a terminal or a log: what would act is written as `\x1b` or `\u202e`; tab and newline stay."""
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown_json(value: Any, encoding: str = "utf-8") -> str:
    """Return JSON that a terminal shows as it is and a parser reads exactly; raises ValueError for NaN and infinity."""
    # json escapes C0 itself. The others are legal in JSON, and so are their escapes.
    return _CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], json_text(value, encoding))


class SafeFormatter(logging.Formatter):
    """Formatter of log lines that are shown on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return a table in CSV. Text that a spreadsheet would compute gets an apostrophe before it; numbers stay.

    `csv_rows` reads it back exactly: a text that has such an apostrophe already gets another one.
    """
    return "".join(_csv_line([_cell(cell) if isinstance(cell, str) else cell for cell in row]) for row in rows)


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    # Both letters of this ending are quoted within a cell: a carriage return alone begins a row of its own.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table that `csv_text` wrote, by column."""
    with path.open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines) if path.stat().st_size else [[]]
    names = [_uncell(name) for name in head]
    return [dict(zip(names, map(_uncell, row), strict=False)) for row in rows]


def _uncell(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
