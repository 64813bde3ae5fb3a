"""Columns of a table: which holds the images, the classes, the splits and the groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clearsight.core.dataset import SPLITS, Notice, ReadOptions, Split
from clearsight.core.errors import BadChoice, BadData, listed
from clearsight.data.label_check import one_hot_columns, one_hot_label
from clearsight.data.readers.support import column_names
from clearsight.data.readers.support.layout import is_image
from clearsight.data.readers.support.rows import TableRows
from clearsight.data.readers.support.split_names import split_of, splits_of_cells

_SHOWN = 4
_FEW = 10  # rows; classes of fewer may all be different
_UNASSIGNED = ("unassigned", "none", "nan", "na", "n/a", "-")  # of Vertex AI, and of pandas


@dataclass(frozen=True)
class LabelColumns:
    """Columns with the classes: one that names them, or several of which one is set per row."""

    names: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()

    def label(self, cells: Sequence[str | None], row: str) -> str | None:
        """Return the value that names the class in the cells of these columns; raises BadData for that row."""
        return one_hot_label(self.names, cells, row) if len(self.names) > 1 else next(iter(cells), None)


@dataclass(frozen=True)
class SplitColumn:
    """The column with the splits, and what its cells mean."""

    name: str | None = None
    splits: dict[str, Split] | None = None
    notices: tuple[Notice, ...] = ()

    def split(self, cell: str | None, row: str) -> Split | None:
        """Return the split of a cell, None for an empty one; raises BadChoice for an unknown word in that row."""
        if cell is None or self.splits is None:
            return None
        if cell not in self.splits and cell.lower() not in _UNASSIGNED:  # a row of "fold3" must not slip into training
            raise BadChoice(row, f"split {cell!r} is not known", got=cell, allowed=SPLITS)
        return self.splits.get(cell)


def path_column(rows: TableRows, options: ReadOptions) -> str:
    """Return the column with the paths: the chosen one, one with a usual name, or one that holds names of images.

    Of several usual names, one whose cells end in .jpg and the like comes first: "id" may stand beside "file".
    """
    if (chosen := rows.column(options.id_column, "--id-column")) is not None:
        return chosen
    usual = rows.usual(column_names.PATHS)
    head = rows.head(*rows.names)
    filled = {name: sum(bool(is_image(cells[place] or "")) for cells in head) for place, name in enumerate(rows.names)}
    images = [name for name in (*usual, *rows.names) if 2 * filled[name] > len(head)]
    if images or usual:
        return (images or usual)[0]
    problem = f"no column holds the paths, it has {listed(rows.names, 12)}"
    fix = "Choose it with --id-column; if the first line is a row, write a header such as path,label above it."
    raise BadData(str(rows.path), problem, fix=fix)


def label_columns(rows: TableRows, options: ReadOptions, used: Sequence[str | None]) -> LabelColumns:
    """Return the columns with the classes, none when all are `used`; raises BadChoice when it is unclear."""
    if options.label_column is not None:
        return LabelColumns(_chosen_labels(rows, options.label_column))
    usual = [name for name in rows.usual(column_names.LABELS) if name not in used]
    if len(usual) > 1:
        text = f"classes are read from column {usual[0]!r}; --label-column {usual[1]} would take the other"
        return LabelColumns((usual[0],), (Notice(code="label-column", text=text),))
    left = usual or [name for name in rows.names if name not in used and not column_names.is_index(name)]
    described = (*rows.usual(column_names.SPLITS), *rows.usual(column_names.GROUPS))
    left = [name for name in left if name not in described] or left
    left = left if len(left) < 2 else _repeating(rows, left) or left
    if len(left) < 2:
        return LabelColumns(tuple(left))
    head = rows.head(*left)
    columns = one_hot_columns(head, left)
    others = [place for place, name in enumerate(left) if name not in columns]
    # An age beside them is no class; a column of words may be the one with the classes.
    if columns and all(_is_number(cells[place]) for cells in head for place in others):
        text = f"classes are the columns {listed(columns, _SHOWN)}, of which one is set in each row"
        return LabelColumns(columns, (Notice(code="one-hot", text=text),))
    problem = "no column has a usual name for classes; choose one with --label-column"
    raise BadChoice(str(rows.path), problem, allowed=left)


def split_column(rows: TableRows, options: ReadOptions, used: Sequence[str | None]) -> SplitColumn:
    """Return the column with the splits, and notices about a column that looks like one and is not read.

    A column with a usual name counts only when its cells name splits: "set" may mean many things.
    Raises BadChoice when the chosen column holds no split.
    """
    if options.split_column is not None:
        chosen = rows.column(options.split_column, "--split-column")
        return _chosen_split(rows, chosen or "")
    notices: list[Notice] = []
    found = SplitColumn()
    for name in rows.usual(column_names.SPLITS):
        counts = rows.counts(name) if name not in used else {}
        splits = splits_of_cells(name, counts) if counts else {}
        if splits and found.name is None and _others(rows, (*used, name)):
            found = SplitColumn(name, splits)
            notices.extend(_meaning(name, splits))
        elif counts and _others(rows, (*used, name)):
            values = listed([repr(cell) for cell in sorted(counts)], _SHOWN)
            text = (
                f"column {name!r} ({values}) is not read as a split; "
                "write train, valid or test there, or name another column by --split-column"
            )
            notices.append(Notice(code="split-column", text=text))
    return SplitColumn(found.name, found.splits, tuple(notices))


def group_column(rows: TableRows, options: ReadOptions, used: Sequence[str | None]) -> str | None:
    """Return the column with the groups: the chosen one, or one with a usual name."""
    if options.group_column is not None:
        return rows.column(options.group_column, "--group-column")
    found = (name for name in rows.usual(column_names.GROUPS) if name not in used)
    return next((name for name in found if _others(rows, (*used, name))), None)


def _chosen_labels(rows: TableRows, chosen: str) -> tuple[str, ...]:
    """Return the column of --label-column, or the columns of --label-column MEL,NV,BCC."""
    several = [name.strip() for name in chosen.split(",")]
    if chosen not in rows.names and len(several) > 1 and {*several} <= {*rows.names}:
        return tuple(several)
    return (rows.column(chosen, "--label-column") or "",)


def _chosen_split(rows: TableRows, name: str) -> SplitColumn:
    counts = rows.counts(name)
    splits = splits_of_cells(name, counts, chosen=True)
    if counts and not splits:
        first = min(counts)
        problem = f"{rows.path.name} has {listed([repr(cell) for cell in sorted(counts)], _SHOWN)} there"
        fix = "Yes and no are understood in columns called is_valid, is_test or is_train."
        raise BadChoice(f"--split-column {name}", problem, got=first, allowed=SPLITS, fix=fix)
    return SplitColumn(name, splits, _meaning(name, splits))


def _repeating(rows: TableRows, names: Sequence[str]) -> list[str]:
    """Return the columns without those of addresses and numbers of rows, whose values are all different."""
    head = rows.head(*names)
    if len(head) < _FEW:
        return [*names]
    return [name for place, name in enumerate(names) if len({cells[place] for cells in head}) < len(head)]


def _meaning(name: str, splits: dict[str, Split]) -> tuple[Notice, ...]:
    """Return the notice about cells that are no names of splits."""
    if all(split_of(cell) for cell in splits):
        return ()
    meanings = ", ".join(f"{cell} is {split}" for cell, split in sorted(splits.items()))
    return (Notice(code="split-read", text=f"splits are read from column {name!r}: {meanings}"),)


def _others(rows: TableRows, used: Sequence[str | None]) -> bool:
    """Return True if a column is left for the classes."""
    return any(name not in used and not column_names.is_index(name) for name in rows.names)


def _is_number(cell: str | None) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True
