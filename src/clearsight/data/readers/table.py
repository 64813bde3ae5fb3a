"""CSV, JSON lines or Parquet with a path, a label and, optionally, a split and a group per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clearsight.core.dataset import Listing, Notice, ReadOptions, Record
from clearsight.core.errors import BadData
from clearsight.data.labels import class_name
from clearsight.data.readers.support.columns import LabelColumns, group_column, label_columns, path_column, split_column
from clearsight.data.readers.support.delimited import names_images
from clearsight.data.readers.support.files import FileSource
from clearsight.data.readers.support.image_files import find_images, folders_with_images
from clearsight.data.readers.support.rows import SUFFIXES, TableRows, open_table
from clearsight.data.readers.support.split_names import split_of

_FEW = 5  # rows that are compared with a first line


@dataclass
class PathRows:
    """Rows of (path, label, split, group) being turned into records: one per image, of images on the disk."""

    table: Path
    _rows: list[tuple[int, Record]] = field(default_factory=list)

    def add(self, line: int, record: Record) -> None:
        """Take a row; its locator is the path as the table writes it, its label the value."""
        self._rows.append((line, replace(record, label=class_name(record.label))))

    def listing(self, format: str, options: ReadOptions, notices: Sequence[Notice] = ()) -> Listing:
        """Return the records; raises BadData when there are none, none of the images exists, or rows contradict."""
        if not self._rows:
            raise BadData(str(self.table), "it has no rows")
        found = find_images(self.table, (record.locator for _, record in self._rows), options.image_folder)
        if len(found.missing) == len(found.locators):  # one image is enough: the scan names the missing
            raise self._nothing_exists(found.missing, options.image_folder)
        first: dict[str, tuple[int, Record]] = {}
        repeated: list[str] = []
        for line, written in self._rows:
            record = replace(written, locator=found.locators[written.locator])
            earlier, same = first.setdefault(record.locator, (line, record))  # the line tells whether it is new
            if (same.label, same.split) != (record.label, record.split):
                problem = f"{record.locator} is {_describe(record)} here and {_describe(same)} in line {earlier}"
                reason = ": clearsight trains one class per image" if same.label != record.label else ""
                raise BadData(f"{self.table} line {line}", problem, fix=f"Keep one of the two rows{reason}.")
            if earlier != line:
                repeated.append(record.locator)
        remarks = [*notices, *found.notices]
        if repeated:
            text = f"{len(repeated)} rows occur twice and count once"
            remarks.append(Notice(code="repeated-row", text=text, paths=tuple(repeated)))
        records = tuple(record for _, record in first.values())
        return Listing(records=records, source=FileSource(found.root), format=format, notices=tuple(remarks))

    def _nothing_exists(self, missing: Sequence[str], image_folder: str | None) -> BadData:
        problem = f"none of its {len(missing)} images exists (first: {self.table.parent / missing[0]})"
        if any("://" in path for path in missing[:1]):
            return BadData(str(self.table), problem, fix="Download the images first; they are found by their names.")
        if image_folder is not None:
            return BadData(str(self.table), f"{problem}, nor is it in {image_folder}", fix="Correct --image-folder.")
        fix = "Paths are relative to the table's folder: name the folder with the images by --image-folder."
        folders = folders_with_images(self.table.parent)
        hint = f" There are images in {', '.join(folders)}." if folders else ""
        return BadData(str(self.table), problem, fix=f"{fix}{hint}")


def _describe(record: Record) -> str:
    return f"{record.label!r}" + (f" of {record.split}" if record.split else "")


class TableReader:
    """A table of images; the paths in it are relative to its folder."""

    name = "table"

    def recognises(self, path: Path) -> bool:
        suffix = path.suffix.lower()
        return path.is_file() and (suffix in SUFFIXES or (suffix == ".txt" and names_images(path)))

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every row; columns are found by their usual names unless `options` names them."""
        if not path.is_file():
            raise BadData(str(path), "it is not a table file")
        rows, paths = open_paths(path, options)
        splits = split_column(rows, options, used=(paths, options.label_column))
        groups = group_column(rows, options, used=(paths, splits.name, options.label_column))
        labels = label_columns(rows, options, used=(paths, splits.name, groups)) if options.labels else LabelColumns()
        records = PathRows(path)
        for line, (locator, split, group, *cells) in rows.pick(paths, splits.name, groups, *labels.names):
            row = f"{path} line {line}"
            if locator is None:
                raise BadData(row, f"column {paths!r} is empty", fix="Give every row a path.")
            label = labels.label(cells, row)
            records.add(line, Record(locator=locator, label=label, split=splits.split(split, row), group=group))
        listing = records.listing(self.name, options, (*rows.notices, *splits.notices, *labels.notices))
        listing = replace(listing, group_column=groups or "")
        return listing if splits.name else _split_by_folders(listing)


def open_paths(path: Path, options: ReadOptions) -> tuple[TableRows, str]:
    """Return the table and its column of paths; a first line that names an image, such as "p01,cat", is a row."""
    rows = open_table(path)
    try:
        return rows, path_column(rows, options)
    except BadData:
        first = [rows.names, *rows.head(*rows.names)[:_FEW]]  # a header may be called like an image, rows then are not
        found = find_images(path, (cell for cells in first for cell in cells if cell), options.image_folder)
        images = found.locators.keys() - {*found.missing}
        places = [place for place in range(len(rows.names)) if all(cells[place] in images for cells in first)]
        if not places:
            raise
    rows = open_table(path, places[0])
    return rows, path_column(rows, options)


def _split_by_folders(listing: Listing) -> Listing:
    """Return the listing with the splits that the first folders of its paths name, if they name train and another."""
    splits = [split_of(record.locator.rpartition("/")[0].partition("/")[0]) for record in listing.records]
    if None in splits or "train" not in splits or len({*splits}) == 1:
        return listing
    notice = Notice(code="split-read", text="splits are read from the paths, which begin with train/ and others")
    records = tuple(replace(record, split=split) for record, split in zip(listing.records, splits, strict=True))
    return replace(listing, records=records, notices=(*listing.notices, notice))


READER = TableReader()
