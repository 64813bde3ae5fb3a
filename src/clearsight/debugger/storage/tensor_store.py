"""FileTensorStore: records on disk, in safetensors blobs and an append-only index of what is in which blob.

    tensors/facts.json  index.jsonl  000-000001.safetensors ...  end.json

Each `append` writes one blob, whole and under its final name, and then its lines of the index in one piece. So a kill
at any moment leaves at most a cut last line or a blob that no line names; both are left out when reading. After a loss
of power the last blobs can be damaged too: they are left out where nothing sound follows, and raise anywhere else.
The first line of the index is `{"clearsight": "tensors", "format": 1, "rewinds": []}`; a rewind writes a new index and
puts there how many of the old lines, from the top, are still the same. Blob names begin with the number of rewinds,
so that no name is ever used twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from clearsight.core.context import RunContext
from clearsight.core.errors import BadData
from clearsight.core.files import atomic, disk_full_as_error, read_json, write_bytes, write_json
from clearsight.core.tensors import SavedRecord
from clearsight.debugger.storage.index import Arrays, BlobReader, DamagedBlob, IndexEntry, Layout, dump, encode, parse

_CONTEXT = "facts.json"  # its name in the files of every version
_HEAD: dict[str, Any] = {"clearsight": "tensors", "format": 1, "rewinds": []}


@dataclass(frozen=True, slots=True)
class IndexPosition:
    """Place up to which an index was read; `IndexPosition()` is the start."""

    rewinds: int = 0
    offset: int = 0
    lines: int = 0  # below the first
    layouts: Mapping[int, Layout] = field(default_factory=dict)


_START = IndexPosition()


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of an index below the first, and the position behind it."""

    entry: IndexEntry | None  # None for a layout
    values: Mapping[str, Any]
    after: IndexPosition


class FileTensorStore:
    """The TensorStore in the folder `folder` (of a run: `tensors/`).

    One writer and any number of readers, in other processes too. The first write makes the folder.  rank: of the
    process in a run on several devices; each rank has an index, blobs and an end of its own (`index.1.jsonl`).
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder, self.rank = Path(folder), rank
        self.index = self.folder / (f"index.{rank}.jsonl" if rank else "index.jsonl")
        self._end = self.folder / (f"end.{rank}.json" if rank else "end.json")
        self._prefix = f"rank{rank}-" if rank else ""
        self._handle: int | None = None  # of the index; None until something is appended
        self._layouts: dict[Layout, int] = {}
        self._rewinds, self._number = 0, 0

    def append(self, records: Sequence[SavedRecord]) -> None:
        """Append records: one blob, one piece of index, no sync to disk (a kill of the process loses nothing).

        Raises DiskFull, and BadValue for a tensor whose type cannot be saved; nothing of `records` is kept then.
        """
        if not records:
            return
        handle = self._opened()
        layouts = dict(self._layouts)
        lines, arrays = encode(records, layouts)
        if arrays:
            blob = self._write_blob(arrays)
            lines = [{**line, "blob": blob} if "crc" in line else line for line in lines]
        self._write(handle, dump(lines))
        self._layouts = layouts

    def records(self, kinds: Iterable[type] = ()) -> Iterator[SavedRecord]:
        """Yield the records of the given kinds (none: of all), in the order of writing.

        Raises BadData where something other than the tail is damaged.
        """
        (entries, _), selected = self.entries(), tuple(kinds)
        yield from self._loaded([entry for entry in entries if not selected or entry.kind in selected])

    def entries(self, position: IndexPosition = _START) -> tuple[list[IndexEntry], IndexPosition]:
        """Return what has come since `position`, with the arrays still on disk, and the new position; never waits."""
        lines, position = self._since(position)
        return [line.entry for line in lines if line.entry], lines[-1].after if lines else position

    def follow(self, position: IndexPosition = _START) -> tuple[list[SavedRecord], IndexPosition]:
        """Return the records since `position`, and the new position; never waits.

        After a rewind it continues where the index was cut, so what is written again there is returned again.
        """
        try:
            return self._follow(position)
        except BadData:
            if len(self._lines()[0]["rewinds"]) == position.rewinds:
                raise
            return self._follow(position)  # a rewind in between has removed the blobs

    def rewind(self, train_step: int) -> None:
        """Drop everything after the training step, for a run that continues from a checkpoint."""
        self.close()
        self._end.unlink(missing_ok=True)
        head, lines = self._sound()
        is_before = [line.entry is None or line.entry.at.train_step <= train_step for line in lines]
        if all(is_before):
            return
        head = {**head, "rewinds": [*head["rewinds"], is_before.index(False)]}
        remaining = [line for line, before in zip(lines, is_before, strict=True) if before]
        # The index first: a kill in between leaves blobs that no line names, never lines without a blob.
        write_bytes(self.index, dump([head, *(line.values for line in remaining)]))
        named = {line.entry.blob for line in remaining if line.entry}
        for blob in self._blobs():
            if blob not in named:
                blob.unlink()

    def write_context(self, context: RunContext) -> None:
        """Write or replace the run's context."""
        write_json(self.folder / _CONTEXT, context.to_json())

    def read_context(self) -> RunContext:
        """Return the run's context; an empty one where none was written."""
        path = self.folder / _CONTEXT
        return RunContext.from_json(read_json(path), str(path)) if path.is_file() else RunContext()

    def finish(self, status: str = "completed") -> None:
        """Mark the run as over; `append` and `rewind` remove the mark."""
        self.close()
        write_json(self._end, {"status": status})

    @property
    def finished(self) -> bool:
        """True if the writer marked the run as over."""
        return self._end.is_file()

    @property
    def end_status(self) -> str | None:
        """Status that the writer marked at the end: "completed" or "failed"; None while it goes on."""
        return str(read_json(self._end)["status"]) if self.finished else None

    def close(self) -> None:
        """Close the index file; the next append opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    # Writing

    def _opened(self) -> int:
        """Return the index, open at its end, with a torn tail cut off."""
        if self._handle is not None:
            return self._handle
        self.folder.mkdir(parents=True, exist_ok=True)
        self._end.unlink(missing_ok=True)
        head, lines = self._sound()
        self._rewinds = len(head["rewinds"])
        self._layouts = {layout: number for number, layout in lines[-1].after.layouts.items()} if lines else {}
        prefix = f"{self._prefix}{self._rewinds:03d}-"
        numbers = [int(path.stem.removeprefix(prefix)) for path in self._blobs() if path.stem.startswith(prefix)]
        self._number = max(numbers, default=0)
        whole = lines[-1].after.offset if lines else self._head_length()
        handle = os.open(self.index, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(handle, whole)
        if not whole:
            self._write(handle, dump([head]))
        self._handle = handle
        return handle

    def _write_blob(self, arrays: Arrays) -> tuple[str, int]:
        self._number += 1
        name = f"{self._prefix}{self._rewinds:03d}-{self._number:06d}"
        path = self.folder / f"{name}.safetensors"
        with atomic(path, sync=False) as part:
            save_file(arrays, part)
        return name, path.stat().st_size

    def _write(self, handle: int, data: bytes) -> None:
        try:
            with disk_full_as_error(self.index):
                while data:
                    data = data[os.write(handle, data) :]
        except BaseException:
            os.close(handle)  # a part may be there: the next append opens again and cuts it off
            self._handle = None
            raise

    def _sound(self) -> tuple[dict[str, Any], list[_Line]]:
        """Return the head and the lines without those of a torn tail. Raises BadData for damage elsewhere."""
        head, lines = self._lines()
        entries = [(place, line.entry) for place, line in enumerate(lines) if line.entry]
        damaged = {entry.line["blob"][0] for entry in self._firsts(e for _, e in entries) if not entry.is_complete()}
        bad = [place for place, entry in entries if entry.line.get("blob", [None])[0] in damaged]
        if not bad and entries and entries[-1][1].blob:
            last = entries[-1][1].blob  # a loss of power can leave a blob of the right length with the wrong content
            bad = [place for place, entry in entries if entry.blob == last and not _loads(entry)]
        if not bad:
            return head, lines
        self._check_tail([entry for place, entry in entries if place >= bad[0]])
        return head, lines[: bad[0]]

    @staticmethod
    def _firsts(entries: Iterable[IndexEntry]) -> Iterator[IndexEntry]:
        """Yield the first entry of each blob."""
        with_blobs = (entry for entry in entries if "blob" in entry.line)
        return (next(group) for _, group in groupby(with_blobs, key=lambda entry: entry.line["blob"][0]))

    # Reading

    def _follow(self, position: IndexPosition) -> tuple[list[SavedRecord], IndexPosition]:
        lines, position = self._since(position)
        entries = [(line.entry, line.after) for line in lines if line.entry]
        records = list(self._loaded([entry for entry, _ in entries]))
        return records, entries[len(records) - 1][1] if records else position

    def _since(self, position: IndexPosition) -> tuple[list[_Line], IndexPosition]:
        """Return the lines after a position, and where they begin: after a rewind further up."""
        head, lines = self._lines(position)
        if len(head["rewinds"]) == position.rewinds:
            return lines, position
        same = min([position.lines, *head["rewinds"][position.rewinds :]])
        return lines[same:], lines[same - 1].after if same else IndexPosition(len(head["rewinds"]))

    def _loaded(self, entries: Sequence[IndexEntry]) -> Iterator[SavedRecord]:
        blobs = BlobReader()
        for place, entry in enumerate(entries):
            try:
                record = entry.load(blobs)
            except DamagedBlob as damage:
                self._check_tail(entries[place:], damage)
                return
            yield record

    def _check_tail(self, entries: Sequence[IndexEntry], damage: DamagedBlob | None = None) -> None:
        """Raise BadData if a sound blob follows the damaged one of the first entry."""
        bad = entries[0].blob
        if any(entry.blob != bad and entry.is_complete() for entry in self._firsts(entries)):
            raise damage or DamagedBlob(str(bad), "it is missing or damaged")

    def _lines(self, start: IndexPosition = _START) -> tuple[dict[str, Any], list[_Line]]:
        """Return the head and the complete lines after `start`; all lines where a rewind came after `start`.

        Raises BadData for a line that does not belong into an index, unless it is the last.
        """
        if not self._head_length():
            return _HEAD, []
        with self.index.open("rb") as stream:  # opened once: a rewind replaces the file in the meantime
            head = {**_HEAD, **self._parse_head(stream.readline())}
            if len(head["rewinds"]) != start.rewinds or not start.offset:
                start = IndexPosition(len(head["rewinds"]), stream.tell())
            stream.seek(start.offset)
            texts = stream.read().split(b"\n")[:-1]  # behind the last newline is what is still being written
        lines: list[_Line] = []
        for text in texts:
            try:
                lines.append(self._parse(text, lines[-1].after if lines else start))
            except (ValueError, KeyError, TypeError) as error:
                if len(lines) == len(texts) - 1:
                    break
                number = start.lines + len(lines) + 2
                raise BadData(str(self.index), f"line {number} is damaged") from error
        return head, lines

    def _parse(self, text: bytes, before: IndexPosition) -> _Line:
        values, layouts, entry = json.loads(text), before.layouts, None
        if "kind" in values:
            entry = parse(values, layouts, self.folder)
        else:
            layouts = {**layouts, values["layout"]: (tuple(values["names"]), tuple(values["collections"]))}
        after = IndexPosition(before.rewinds, before.offset + len(text) + 1, before.lines + 1, layouts)
        return _Line(entry, values, after)

    def _parse_head(self, text: bytes) -> dict[str, Any]:
        try:
            head: dict[str, Any] = json.loads(text)
            known = head["clearsight"] == "tensors" and head["format"] <= _HEAD["format"]
            if not all(isinstance(line, int) for line in head.get("rewinds", ())):
                raise TypeError("rewinds are numbers of lines")
        except (ValueError, KeyError, TypeError) as error:
            raise BadData(str(self.index), "line 1 is damaged") from error
        if not known:
            raise BadData(str(self.index), "it was written by a newer version", fix="Update clearsight.")
        return head

    def _head_length(self) -> int:
        """Return the length of the first line of the index; 0 where it is not complete."""
        if not self.index.is_file():
            return 0
        with self.index.open("rb") as stream:
            line = stream.readline()
        return len(line) if line.endswith(b"\n") else 0

    def _blobs(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self._prefix}[0-9][0-9][0-9]-*.safetensors"))


def _loads(entry: IndexEntry) -> bool:
    try:
        entry.load()
    except DamagedBlob:
        return False
    return True
