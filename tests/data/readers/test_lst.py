"""List files (.lst) of index, class number and path, separated by tabs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clearsight.core.dataset import ReadOptions
from clearsight.core.errors import BadData
from clearsight.data.readers.lst import READER


def test_class_numbers_become_names(tmp_path: Path, shared: Path) -> None:
    shutil.copy(shared / "data/bad-inputs/good.jpg", tmp_path / "a b.jpg")
    (tmp_path / "x.lst").write_text("0\t1\ta b.jpg\n7\t12.000000\tb.jpg\n")
    listing = READER.read(tmp_path / "x.lst", ReadOptions())
    assert [(record.locator, record.label) for record in listing.records] == [("a b.jpg", "1"), ("b.jpg", "12")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no rows"),
        ("0 1 a.jpg", "separated by tabs"),
        ("0\tcat\ta.jpg", "'cat' is not a class number"),
        ("0\t1\t0.5\t0.5\ta.jpg", "3 labels"),
    ],
)
def test_other_lines_are_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "x.lst").write_text(content)
    with pytest.raises(BadData, match=words):
        READER.read(tmp_path / "x.lst", ReadOptions())
