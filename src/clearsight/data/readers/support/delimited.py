"""CSV as people have it: any separator, UTF-8 or UTF-16, lines before the header, or no header at all."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from clearsight.core.dataset import Notice
from clearsight.core.errors import BadData
from clearsight.data.readers.support.column_names import PATHS, usual
from clearsight.data.readers.support.layout import is_image
from clearsight.data.readers.support.split_names import split_of

_PREAMBLE = 100  # lines before the header: blank ones, comments, and the sep=; of Excel
_LONGEST = 1 << 20  # characters of such a line
_HEAD = 100  # rows from which the columns of a table without a header are named


@dataclass(frozen=True)
class DelimitedText:
    """A file of separated cells: its column names, and its rows."""

    path: Path
    encoding: str
    mark: str
    skip: int  # lines before the header, or before the first row where there is none
    names: tuple[str, ...] = ()
    header: bool = True
    notices: tuple[Notice, ...] = field(default=())

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield line number and cells of each row, one cell per name; blank lines and comments are none."""
        for line, cells in self._lines():
            row = cells[: len(self.names)] if not any(map(str.strip, cells[len(self.names) :])) else cells
            header = tuple(cell.strip() for cell in row) == self.names  # once more, of a table that was appended
            if header or not any(map(str.strip, row)) or _is_comment(row, len(self.names)):
                continue
            if len(row) != len(self.names):
                problem = f"line {line} has {len(row)} cells, the header has {len(self.names)}"
                raise BadData(str(self.path), problem, fix="Quote cells that hold the separator.")
            yield line, row

    def head(self) -> list[list[str]]:
        """Return the cells of the first rows, as many as there are."""
        return [cells for _, cells in islice(self._lines(), _HEAD) if any(map(str.strip, cells))]

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        with self.path.open(encoding=self.encoding, newline="") as stream:
            table = csv.reader(stream, delimiter=self.mark, skipinitialspace=True)
            try:
                for _ in range(self.skip):
                    stream.readline()
                if self.header:
                    next(table, None)
                for cells in table:
                    yield self.skip + table.line_num, cells
            except UnicodeError:
                raise not_utf8(self.path) from None
            except csv.Error as error:
                raise BadData(str(self.path), f"line {self.skip + table.line_num} is not CSV ({error})") from None


def open_delimited(path: Path, path_column: int | None = None) -> DelimitedText:
    """Return the table in a text file; raises BadData when it is empty or neither UTF-8 nor UTF-16.

    path_column: place of the paths in a table without a header. None finds out whether there is one: a first line
    with the name of an image is a row.
    """
    encoding = _encoding(path)
    mark, comment, head, skip = "", "", "", 0
    with path.open(encoding=encoding, newline="") as stream:
        try:
            while skip < _PREAMBLE and (line := stream.readline(_LONGEST)):
                if (separator := re.fullmatch(r'"?sep=(.)"?', line.strip("\r\n"), re.IGNORECASE)) is not None:
                    mark = separator[1]
                elif line.startswith("#"):
                    comment = line
                elif line.strip(" ,;|\t\r\n"):
                    head = line
                    break
                skip += 1
        except UnicodeError:
            raise not_utf8(path) from None
    outside = re.sub(r'"[^"]*"', "", head)
    mark = mark or max(",;\t|", key=outside.count)  # a tie goes to the comma
    if mark not in outside and any(map(is_image, outside.split())):
        mark = " "  # "a.jpg 0", as the lists of ImageNet and Caffe
    cells, remark = _cells(head, mark), _cells(comment.lstrip("# "), mark)
    if not head:
        if not usual(remark, PATHS):
            raise BadData(str(path), "it is empty", fix="Its first line must name the columns.")
        return DelimitedText(path, encoding, mark, skip, tuple(remark), header=False)
    if len(remark) == len(cells) and usual(remark, PATHS):  # "# path,label"
        return DelimitedText(path, encoding, mark, skip, tuple(remark), header=False)
    if path_column is None:
        path_column = next((place for place, cell in enumerate(cells) if is_image(cell)), None)
    if path_column is None:
        return DelimitedText(path, encoding, mark, skip, tuple(cells))
    names = _names(DelimitedText(path, encoding, mark, skip, header=False).head(), len(cells), path_column)
    text = f"line {skip + 1} is a row, not a header: the columns are taken for {', '.join(names)}"
    notice = Notice(code="no-header", text=text)
    return DelimitedText(path, encoding, mark, skip, names, header=False, notices=(notice,))


def names_images(path: Path) -> bool:
    """Return True if a text file is a table with a column of paths beside another; False for other texts."""
    try:
        table = open_delimited(path)
    except (OSError, BadData):
        return False
    return len(table.names) > 1 and (not table.header or bool(usual(table.names, PATHS)))


def not_utf8(path: Path) -> BadData:
    """Return the error for a file in another encoding."""
    problem = "it is not UTF-8 text (Latin-1 or Windows-1252, perhaps)"
    if _encoding(path).startswith("utf-16"):
        problem = "it is UTF-16 text, not UTF-8"
    return BadData(str(path), problem, fix="Save it as UTF-8; Excel calls that CSV UTF-8.")


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):  # "Unicode text" of Excel, and Out-File of PowerShell
        return "utf-16"
    if len(start) == 4 and (start[1] == 0 or start[0] == 0):  # the same without the mark: ASCII with zero bytes
        return "utf-16-le" if start[1] == 0 else "utf-16-be"
    return "utf-8-sig"  # Excel writes a byte order mark


def _cells(line: str, mark: str) -> list[str]:
    """Return the cells of a header, without empty ones at its end."""
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _is_comment(row: Sequence[str], width: int) -> bool:
    return row[0].startswith("#") and (len(row) != width or row[0].startswith("# "))


def _names(head: Sequence[Sequence[str]], width: int, path: int) -> tuple[str, ...]:
    """Return names for the columns of rows without a header: path, split where all cells are, and label if one is left.

    Columns beyond are called "column 3" and so on.
    """
    columns = [[row[place].strip() for row in head if place < len(row)] for place in range(width)]
    names = {path: "path"}
    split = [place for place, cells in enumerate(columns) if place != path and all(map(split_of, cells))]
    if len(split) == 1 and width > 2:
        names[split[0]] = "split"
    counting = [str(number) for number in range(len(head) + 1)]
    for place, cells in enumerate(columns):
        if width > 2 and place not in names and cells in (counting[:-1], counting[1:]):
            names[place] = "row"
    left = [place for place in range(width) if place not in names]
    if len(left) == 1:
        names[left[0]] = "label"
    return tuple(names.get(place, f"column {place + 1}") for place in range(width))
