"""LineFile keeps what was written, and never continues a line that a crash cut short."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.timing.line_file import LineFile, mend


def test_the_first_write_makes_the_file_and_its_folder(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "new" / "a.jsonl")
    assert not file.path.parent.exists()
    file.write("one\ntwo\n")
    assert file.path.read_text() == "one\ntwo\n"  # at once: before it is closed
    file.write("three\n")
    file.close()
    assert file.path.read_text() == "one\ntwo\nthree\n"


def test_it_goes_on_below_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"step": 1}\n{"ste')
    file = LineFile(path)
    file.write('{"step": 2}\n')
    file.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


@given(whole=st.lists(st.text("ab", max_size=5), max_size=4), cut=st.text("ab", max_size=5))
@settings(max_examples=50, deadline=None)
def test_mending_drops_the_cut_line_and_nothing_else(whole: list[str], cut: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        lines = "".join(f"{line}\n" for line in whole)
        path.write_text(lines + cut)
        mend(path)
        assert path.read_text() == lines


def test_a_cut_line_longer_than_any_block_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("one\n" + "x" * 200_000)
    mend(path)
    assert path.read_text() == "one\n"


def test_a_file_that_is_not_there_stays_away(tmp_path: Path) -> None:
    mend(tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


def test_a_full_disk_is_told_to_the_caller() -> None:
    file = LineFile(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        file.write("one\n")
    file.close()
