"""Files are read by their path relative to a root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clearsight.core.errors import BadImage
from clearsight.data.readers.support import files
from clearsight.data.readers.support.files import FileSource, file_stamp


def test_reads_by_relative_path(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "100% [x] #1 街.jpg").write_bytes(b"bytes")
    assert FileSource(tmp_path).read("a/100% [x] #1 街.jpg") == b"bytes"


def test_what_cannot_be_read_is_a_bad_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("nowhere")
    (tmp_path / "big.jpg").write_bytes(bytes(100))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 99)
    for name in ("missing.jpg", "folder.jpg", "pipe.jpg", "link.jpg", "big.jpg", "zero\0byte.jpg"):
        with pytest.raises(BadImage):
            FileSource(tmp_path).read(name)


def test_stamp_changes_with_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    source = FileSource(tmp_path)
    assert source.stamp("a.jpg") == "missing"
    file.write_bytes(b"one")
    before = source.stamp("a.jpg")
    file.write_bytes(b"other")
    assert source.stamp("a.jpg") != before
    assert source.stamp("a.jpg") == file_stamp(file)
