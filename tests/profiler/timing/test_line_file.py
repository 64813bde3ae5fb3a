"""LineFile: nothing written is lost, and an unfinished line of a crash is never continued."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.timing.line_file import LineFile, drop_unfinished_line


def test_the_first_write_makes_the_file_and_its_folder(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "new" / "a.jsonl")
    assert not file.path.parent.exists()
    file.write("one\ntwo\n")
    assert file.path.read_text() == "one\ntwo\n"  # at once: before it is closed
    file.write("three\n")
    file.close()
    assert file.path.read_text() == "one\ntwo\nthree\n"


def test_an_existing_file_is_continued_after_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"step": 1}\n{"ste')
    file = LineFile(path)
    file.write('{"step": 2}\n')
    file.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


@given(whole=st.lists(st.text("ab", max_size=5), max_size=4), cut=st.text("ab", max_size=5))
@settings(max_examples=50, deadline=None)
def test_only_the_unfinished_line_is_dropped(whole: list[str], cut: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        lines = "".join(f"{line}\n" for line in whole)
        path.write_text(lines + cut)
        drop_unfinished_line(path)
        assert path.read_text() == lines


def test_an_unfinished_line_longer_than_a_block_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("one\n" + "x" * 200_000)
    drop_unfinished_line(path)
    assert path.read_text() == "one\n"


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    drop_unfinished_line(tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


def test_a_full_disk_raises() -> None:
    file = LineFile(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        file.write("one\n")
    file.close()
