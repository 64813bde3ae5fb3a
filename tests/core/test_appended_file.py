"""A file of whole records is continued wherever its writer was killed, and a full disk leaves it whole."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.appended_file import AppendedFile, is_csv_row, is_line
from clearsight.core.errors import DiskFull
from clearsight.core.safe_text import csv_text

# What breaks lines and quotes: of JSON lines, which escape newlines, and of CSV, which does not.
_LINES = st.lists(st.binary(max_size=8).map(lambda raw: raw.replace(b"\n", b"").replace(b"\0", b"") + b"\n"))
_CELL = st.text(st.sampled_from('a",\n\r;é'), max_size=6)
_ROWS = st.lists(st.lists(_CELL, min_size=2, max_size=3).map(lambda cells: csv_text([cells]).encode()))


def continued(records: list[bytes], content: bytes, is_whole: Callable[[bytes], bool]) -> tuple[list[bytes], bytes]:
    """Return the records found in a file of this content, and the file once the missing records were appended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        path.write_bytes(content)
        file = AppendedFile(path, is_whole)
        found = list(file.records())
        for record in records[len(found) :]:
            file.append(record)
        file.close()
        return found, path.read_bytes()


@given(data=st.data())
@pytest.mark.parametrize(("all_records", "is_whole"), [(_LINES, is_line), (_ROWS, is_csv_row)], ids=["lines", "csv"])
def test_a_file_that_was_cut_anywhere_is_completed(
    all_records: st.SearchStrategy[list[bytes]], is_whole: Callable[[bytes], bool], data: st.DataObject
) -> None:
    records = data.draw(all_records)
    whole = b"".join(records)
    cut = data.draw(st.integers(0, len(whole)))
    found, completed = continued(records, whole[:cut], is_whole)
    assert found == records[: len(found)]
    assert len(b"".join(found)) <= cut
    assert len(found) == len(records) or len(b"".join(records[: len(found) + 1])) > cut
    assert completed == whole


def test_a_block_of_zero_bytes_is_cut_off() -> None:
    assert continued([b"a\n", b"b\n"], b"a\n" + bytes(4096) + b"\n", is_line) == ([b"a\n"], b"a\nb\n")


def test_a_full_disk_leaves_what_was_written_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, room = os.pwrite, 7

    def limited(handle: int, data: bytes, offset: int) -> int:
        if offset >= room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data[: room - offset], offset)

    file = AppendedFile(tmp_path / "rows")
    assert list(file.records()) == []
    file.append(b"one\n")
    monkeypatch.setattr(os, "pwrite", limited)
    with pytest.raises(DiskFull, match="what was there before is whole"):
        file.append(b"two\nthree\n")
    assert (tmp_path / "rows").read_bytes() == b"one\n"
    monkeypatch.setattr(os, "pwrite", write)
    file.append(b"two\n")
    file.close()
    assert (tmp_path / "rows").read_bytes() == b"one\ntwo\n"
