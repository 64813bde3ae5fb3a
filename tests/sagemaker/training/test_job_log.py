"""Output becomes lines: whole, in order, within their limit, however it comes."""

from __future__ import annotations

import itertools
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight_sagemaker.training import line_splitter
from clearsight_sagemaker.training.job_log import JobLog, OutputReader
from clearsight_sagemaker.training.line_splitter import MOST_LINE_BYTES, LineSplitter


def split(pieces: list[bytes]) -> list[str]:
    splitter = LineSplitter()
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.finish()


@given(st.text(), st.lists(st.integers(0, 60)))
def test_pieces_do_not_matter(text: str, cuts: list[int]) -> None:
    data = text.encode(errors="replace")
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    lines = [line for line in re.split(r"[\r\n]", data.decode()) if line.strip()]
    assert split(pieces) == lines == split([data])


@given(st.binary(max_size=400))
def test_any_bytes_become_lines_without_line_ends(data: bytes) -> None:
    assert not any({"\n", "\r"} & set(line) for line in split([data]))


@given(st.text(min_size=1).filter(str.strip))
def test_a_long_line_is_cut_between_characters(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_splitter, "MOST_LINE_BYTES", 8)
        line = re.sub(r"\s", "_", text.encode(errors="replace").decode())
        pieces = split([line.encode()])
        assert "".join(pieces) == line
        assert all(len(piece.encode()) <= 8 for piece in pieces)


def test_a_line_without_an_end_takes_no_more_memory_than_a_line() -> None:
    splitter = LineSplitter()
    lines = [line for _ in range(40) for line in splitter.feed(b"x" * 65536)]
    assert {len(line) for line in lines} == {MOST_LINE_BYTES}
    assert len(splitter.finish()[0]) + sum(map(len, lines)) == 40 * 65536


def test_bytes_that_are_no_text_stay_within_the_limit() -> None:
    [line] = split([b"\xff" * MOST_LINE_BYTES])
    assert len(line.encode()) <= MOST_LINE_BYTES


def test_a_progress_bar_is_a_line_for_each_state() -> None:
    assert split([b"\rEpoch 1:  50%", b"\rEpoch 1: 100%\r\n", b"\ndone\n"]) == [
        "Epoch 1:  50%",
        "Epoch 1: 100%",
        "done",
    ]


def test_a_fast_writer_loses_nothing(tmp_path: Path) -> None:
    log, count = JobLog(tmp_path / "log.txt"), 200_000
    seen = 0

    def on_lines(lines: object) -> None:
        nonlocal seen
        seen += len(lines)  # type: ignore[arg-type]

    output, end = os.pipe()
    start = time.monotonic()
    reader = OutputReader(output, log, on_lines)
    with open(end, "wb") as file:
        for number in range(0, count, 1000):
            file.write(b"".join(b"step %d loss 0.25\n" % step for step in range(number, number + 1000)))
    reader.join()
    seconds = time.monotonic() - start
    log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == [f"step {step} loss 0.25" for step in range(count)]
    assert seen == count
    assert count / seconds > 20_000  # on a machine with other work
    times = [int(line.partition(" ")[0]) for line in lines]
    assert times == sorted(times)


def test_a_text_with_line_ends_is_several_lines(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "log.txt")
    log.write("a\nb", "c")
    log.close()
    assert [line.split(" ", 1)[1] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["a", "b", "c"]
