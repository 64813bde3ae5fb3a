"""The list files of SageMaker and MXNet: index, class number and path, separated by tabs, without a header."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.dataset import Listing, ReadOptions, Record
from clearsight.core.errors import BadData
from clearsight.data.readers.support.rows import text
from clearsight.data.readers.table import PathRows


class LstReader:
    """`index<TAB>label<TAB>path`; paths are relative to the folder of the list."""

    name = "lst"

    def recognises(self, path: Path) -> bool:
        return path.is_file() and path.suffix.lower() == ".lst"

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every line; class numbers become names ("3"), since the format has no others."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadData(str(path), f"it cannot be read ({error})") from None
        path_rows = PathRows(path)
        for number, line in enumerate(lines, 1):
            if line.strip():
                path_rows.add(number, _record(path, number, line.split("\t")))
        return path_rows.listing(self.name, options)


def _record(path: Path, number: int, cells: list[str]) -> Record:
    if len(cells) < 3:
        raise BadData(f"{path} line {number}", "it must be index, label and path separated by tabs")
    if len(cells) > 3:
        problem = f"it has {len(cells) - 2} labels, one class per image is needed"
        fix = "Lists for detection or several labels per image are not classification data."
        raise BadData(f"{path} line {number}", problem, fix=fix)
    try:
        label = text(float(cells[1]))  # im2rec writes "3.000000"
    except ValueError:
        raise BadData(f"{path} line {number}", f"label {cells[1]!r} is not a class number") from None
    return Record(locator=cells[2].strip(), label=label, split=None)


READER = LstReader()
