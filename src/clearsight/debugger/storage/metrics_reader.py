"""MetricsReader: metrics.jsonl of a run as Scalars, whole or as it grows."""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadData
from clearsight.core.files import LineFollower, read_jsonl
from clearsight.core.tensors import Moment, Scalars, read_moment

_SUMMARY = "epoch_"  # means over an epoch, for people: the steps of which they are made are in the file too


class MetricsReader:
    """Reads lines `{"step", "epoch", "mode", "name", "value"}`, in evaluation perhaps with "train_step" (else "step").

    Lines of one moment that follow each other become one Scalars; a name that comes again begins another.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines, self._restarts = LineFollower(path), 0
        self._checksums = array("L")  # of every line that was returned

    def scalars(self) -> list[Scalars]:
        """Return all of it. Raises BadData for a damaged line other than a cut last one."""
        return list(_grouped(self._parsed(read_jsonl(self._path), first=1)))

    def follow(self) -> list[Scalars]:
        """Return what has come since the last call.

        Where a resumed run wrote the file anew, that begins with the first line that differs: a reader that has the
        others must not get them twice.
        """
        lines = [line for line in self._lines.lines() if line]
        sums = [zlib.crc32(line.encode()) for line in lines]
        if self._restarts == self._lines.restarts:
            before = len(self._checksums)
            self._checksums.extend(sums)
        else:
            self._restarts = self._lines.restarts
            pairs = enumerate(zip(sums, self._checksums, strict=False))
            shorter = min(len(sums), len(self._checksums))
            before = next((place for place, (new, old) in pairs if new != old), shorter)
            lines, self._checksums = lines[before:], array("L", sums)
        return list(_grouped(self._parsed(lines, first=before + 1)))

    def _parsed(self, rows: Iterable[str | Mapping[str, Any]], first: int) -> Iterator[tuple[Moment, str, float]]:
        for number, line in enumerate(rows, first):
            try:
                row = json.loads(line) if isinstance(line, str) else line
                step, name, value = row["step"], str(row["name"]), row["value"]
                if name.startswith(_SUMMARY) or value is None:
                    continue
                at = read_moment(row["mode"], step, row["epoch"], row.get("train_step", step))
                yield at, name, float(value)
            except (ValueError, KeyError, TypeError) as error:
                raise BadData(str(self._path), f"line {number} is damaged") from error


def _grouped(values: Iterable[tuple[Moment, str, float]]) -> Iterator[Scalars]:
    moment: Moment | None = None
    group: dict[str, float] = {}
    for at, name, value in values:
        if moment is not None and (at != moment or name in group):
            yield Scalars(moment, group)
            group = {}
        moment = at
        group[name] = value
    if moment is not None:
        yield Scalars(moment, group)
