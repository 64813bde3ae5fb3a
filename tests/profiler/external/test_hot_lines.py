"""HotLines: the lines of code that loading waits for."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from clearsight.core.files import read_jsonl
from clearsight.profiler.external.hot_lines import HotLines, hottest, part_named, part_of, user_line
from clearsight.profiler.external.load_timer import LoadTimer, SharedCounters


def decode_slowly(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        time.sleep(0.005)


def test_a_slow_line_is_found_with_its_part(tmp_path: Path) -> None:
    lines = HotLines(tmp_path / "lines.jsonl")
    lines.follow(threading.get_ident(), [""])
    decode_slowly(0.3)
    lines.pause()
    lines.close()
    top = hottest(read_jsonl(tmp_path / "lines.jsonl"))[0]
    assert str(top["where"]).startswith("test_hot_lines.py:")
    assert str(top["where"]).endswith(" decode")
    assert 0.5 < float(top["share"]) <= 1
    assert lines.shares() == {"decode": 1.0}


def test_a_known_part_is_not_derived_from_names(tmp_path: Path) -> None:
    lines = HotLines(tmp_path / "lines.jsonl")
    lines.follow(threading.get_ident(), ["", "augment"])
    decode_slowly(0.1)
    lines.close()
    assert all(line["where"].endswith(" augment") for line in hottest(read_jsonl(tmp_path / "lines.jsonl")))
    assert lines.shares() == {}  # no part was derived from names


def test_nothing_is_sampled_while_no_batch_is_made(tmp_path: Path) -> None:
    lines = HotLines(tmp_path / "lines.jsonl")
    lines.follow(threading.get_ident(), [""])
    lines.pause()
    decode_slowly(0.1)
    lines.close()
    assert lines._by_name.total() <= 1  # a sample may have been under way


def test_without_samples_nothing_is_written(tmp_path: Path) -> None:
    lines = HotLines(tmp_path / "lines.jsonl")
    lines.close()
    assert not (tmp_path / "lines.jsonl").exists()
    assert [thread.name for thread in threading.enumerate() if "hot-lines" in thread.name] == []


def test_a_file_that_cannot_be_written_ends_the_sampling(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lines = HotLines(tmp_path / "file" / "lines.jsonl")
    lines.follow(threading.get_ident(), [""])
    decode_slowly(0.3)
    lines.pause()
    lines.follow(threading.get_ident(), [""])
    lines.close()


def test_the_ten_hottest_lines_come_first() -> None:
    records = [{"lines": {f"a.py:{number} decode": number for number in range(1, 15)}}, {"lines": {"b.py:1 read": 95}}]
    top = hottest(records)
    assert len(top) == 10
    assert top[0] == {"where": "b.py:1 read", "share": 0.475}
    assert [line["share"] for line in top] == sorted((line["share"] for line in top), reverse=True)
    assert hottest([]) == []


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("load_image", "decode"), ("imread", "decode"), ("decodeJPEG", "decode"), ("read_file", "read")),
        *(("RandomCrop", "augment"), ("my_transform", "augment"), ("default_collate", "collate"), ("open", "read")),
        *(("thread", ""), ("ready", ""), ("dataloader", ""), ("__getitem__", ""), ("reopened", ""), ("", "")),
    ],
)
def test_the_part_of_a_name(name: str, part: str) -> None:
    assert part_named(name) == part


def caller() -> FrameType:
    return sys._getframe(1)


def load_image() -> FrameType:
    def unnamed() -> FrameType:
        return caller()

    return unnamed()


def augment_it() -> FrameType:
    return load_image()


def test_the_innermost_name_that_suggests_a_part_decides() -> None:
    assert part_of(augment_it()) == "decode"


def test_names_that_suggest_no_part() -> None:
    assert part_of(caller()) == ""
    assert part_of(None) == ""


def test_the_line_is_the_innermost_of_the_users_code() -> None:
    line = sys._getframe().f_lineno + 1
    assert user_line(caller()) == f"test_hot_lines.py:{line}"
    assert user_line(None) == ""


def test_in_a_library_the_line_that_called_it_counts() -> None:
    lines: list[str] = []

    class Encoder(json.JSONEncoder):
        def default(self, o: object) -> str:
            lines.append(user_line(sys._getframe().f_back))
            return "x"

    line = sys._getframe().f_lineno + 1
    json.dumps([object()], cls=Encoder)
    assert lines == [f"test_hot_lines.py:{line}"]


def test_frames_of_the_profiler_itself_are_left_out(tmp_path: Path) -> None:
    timer = LoadTimer(SharedCounters(lambda: tmp_path / "sums"), HotLines(tmp_path / "lines.jsonl"))
    timer.begin()
    frame = timer.timed("read", caller)()  # called by the wrapper in load_timer.py
    timer.end(1)
    timer.close()
    assert frame is not None
    assert frame.f_code.co_filename.endswith("load_timer.py")
    assert user_line(frame).startswith("test_hot_lines.py:")
