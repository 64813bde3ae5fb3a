"""Lines are read once each, whatever happens to the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.workflow.following import LineFollower


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


def test_each_line_comes_once(file: Path) -> None:
    following = LineFollower(file)
    assert following.lines() == []  # not there yet
    append(file, "a\nb\n")
    assert following.lines() == ["a", "b"]
    assert following.lines() == []
    append(file, "c\n")
    assert following.lines() == ["c"]
    assert following.restarts == 0


def test_a_torn_last_line_waits_for_its_end(file: Path) -> None:
    following = LineFollower(file)
    append(file, 'a\n{"step": 1')
    assert following.lines() == ["a"]
    append(file, "2}")
    assert following.lines() == []
    append(file, "\n")
    assert following.rows() == [{"step": 12}]


def test_a_letter_torn_in_the_middle_is_whole_in_the_end(file: Path) -> None:
    following = LineFollower(file)
    file.write_bytes("é".encode()[:1])
    assert following.lines() == []
    file.write_bytes("é\n".encode())
    assert following.lines() == ["é"]


def test_a_file_cut_short_is_read_again(file: Path) -> None:
    following = LineFollower(file)
    append(file, "a\nb\nc\n")
    following.lines()
    file.write_text("a\n")
    assert following.lines() == ["a"]
    assert following.restarts == 1
    append(file, "d\n")
    assert following.lines() == ["d"]


def test_a_file_written_anew_and_already_longer_is_read_again(file: Path) -> None:
    following = LineFollower(file)
    append(file, "a\nb\n")
    following.lines()
    file.write_text("a\nother\nlines\n")
    assert following.lines() == ["a", "other", "lines"]
    assert following.restarts == 1


def test_a_file_replaced_by_the_same_text_and_more_goes_on(file: Path) -> None:
    following = LineFollower(file)
    append(file, "a\nb\n")
    following.lines()
    new = file.with_suffix(".part")
    new.write_text("a\nb\nc\n")
    new.replace(file)
    assert following.lines() == ["c"]
    assert following.restarts == 0


def test_a_file_that_goes_away_starts_again(file: Path) -> None:
    following = LineFollower(file)
    append(file, "a\n")
    following.lines()
    file.unlink()
    assert following.lines() == []
    append(file, "a\n")
    assert following.lines() == ["a"]
    assert following.restarts == 1


def test_of_a_long_file_the_tail_is_enough(file: Path) -> None:
    append(file, "".join(f"line {i:03}\n" for i in range(100)))
    following = LineFollower(file, tail=25)
    assert following.lines() == ["line 098", "line 099"]
    append(file, "line 100\n")
    assert following.lines() == ["line 100"]
    assert following.restarts == 0


def test_a_line_that_the_tail_cut_is_left_out_even_when_its_end_comes_later(file: Path) -> None:
    append(file, "a" * 100)
    following = LineFollower(file, tail=10)
    assert following.lines() == []
    append(file, "\nb\n")
    assert following.lines() == ["b"]


def test_a_file_shorter_than_the_tail_is_read_whole(file: Path) -> None:
    append(file, "a\nb\n")
    assert LineFollower(file, tail=100).lines() == ["a", "b"]


def test_lines_that_are_no_objects_are_counted_and_left_out(file: Path) -> None:
    append(file, '{"step": 1}\n{"st\n\n3\n{"step": 2}\n')
    following = LineFollower(file)
    assert following.rows() == [{"step": 1}, {"step": 2}]
    assert following.broken == 2


def test_nothing_is_read_twice(file: Path) -> None:
    """A thousand looks at a long file cost what one costs: only what is new is parsed."""
    following, seen = LineFollower(file), []
    for step in range(1000):
        append(file, json.dumps({"step": step}) + "\n")
        seen += following.rows()
    assert [row["step"] for row in seen] == list(range(1000))
