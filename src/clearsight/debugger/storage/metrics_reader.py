"""MetricsFile: metrics.jsonl of a run as Scalars, whole or as it grows."""

from __future__ import annotations

import json
import os
import zlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadData
from clearsight.core.tensors import Moment, Scalars

_SUMMARY = "epoch_"  # sums over an epoch, for people: the steps they are made of are in the file too


class MetricsReader:
    """Lines `{"step", "epoch", "mode", "name", "value"}`, in evaluation perhaps with "train_step" (else it is "step").

    Lines that belong to one moment and follow each other become one Scalars; a name that comes again begins another.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._offset = -1, 0
        self._seen = array("L")  # a checksum per line that was given

    def scalars(self) -> list[Scalars]:
        """All of it. Raises BadData for a damaged line other than a cut last one."""
        if not self._path.is_file():
            return []
        return list(_grouped(self._parsed(self._path.read_bytes().split(b"\n")[:-1], 0)))

    def follow(self) -> list[Scalars]:
        """What has come since the last call. Where a resumed run wrote the file anew, from the first new line on."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as stream:
            inode = os.fstat(stream.fileno()).st_ino
            anew = inode != self._inode or self._offset > os.fstat(stream.fileno()).st_size
            stream.seek(0 if anew else self._offset)
            lines = stream.read().split(b"\n")[:-1]
        before = array("L") if anew else self._seen
        length = sum(len(line) + 1 for line in lines)
        self._offset = length if anew else self._offset + length
        sums = [zlib.crc32(line) for line in lines]
        if anew:
            stays = next((i for i, (a, b) in enumerate(zip(sums, self._seen, strict=False)) if a != b), None)
            lines = lines[min(len(sums), len(self._seen)) if stays is None else stays :]
        before.extend(sums)
        self._inode, self._seen = inode, before
        return list(_grouped(self._parsed(lines, len(before) - len(lines))))

    def _parsed(self, lines: Iterable[bytes], before: int) -> Iterator[tuple[Moment, str, float]]:
        for number, text in enumerate(lines, start=before + 1):
            try:
                line: dict[str, Any] = json.loads(text)
                step, name, value = int(line["step"]), str(line["name"]), line["value"]
                if name.startswith(_SUMMARY) or value is None:
                    continue
                at = Moment(line["mode"], step, int(line["epoch"]), int(line.get("train_step", step)))
                yield at, name, float(value)
            except (ValueError, KeyError, TypeError) as error:
                raise BadData(str(self._path), f"line {number} is damaged") from error


def _grouped(values: Iterable[tuple[Moment, str, float]]) -> Iterator[Scalars]:
    moment: Moment | None = None
    told: dict[str, float] = {}
    for at, name, value in values:
        if moment is not None and (at != moment or name in told):
            yield Scalars(moment, told)
            told = {}
        moment = at
        told[name] = value
    if moment is not None:
        yield Scalars(moment, told)
