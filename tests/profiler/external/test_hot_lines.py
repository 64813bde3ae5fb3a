"""HotLines: the lines that batches wait for."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from clearsight.core.files import read_jsonl
from clearsight.profiler.external.hot_lines import HotLines, hottest, own_line, part_named, part_of


def decode_slowly(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        time.sleep(0.005)


def test_a_line_that_is_waited_for_is_told_with_its_part(tmp_path: Path) -> None:
    lines = HotLines(tmp_path / "lines.jsonl")
    lines.watch(threading.get_ident(), [""])
    decode_slowly(0.3)
    lines.rest()
    lines.close()
    top = hottest(read_jsonl(tmp_path / "lines.jsonl"))[0]
    assert str(top["where"]).startswith("test_hot_lines.py:")
    assert str(top["where"]).endswith(" decode")
    assert 0.5 < float(top["share"]) <= 1
    assert lines.shares() == {"decode": 1.0}


def test_a_part_that_is_known_needs_no_name(tmp_path: Path) -> None:
    lines = HotLines(tmp_path / "lines.jsonl")
    lines.watch(threading.get_ident(), ["", "augment"])
    decode_slowly(0.1)
    lines.close()
    assert all(one["where"].endswith(" augment") for one in hottest(read_jsonl(tmp_path / "lines.jsonl")))
    assert lines.shares() == {}  # nothing had to be told by names


def test_while_nothing_is_made_nobody_looks(tmp_path: Path) -> None:
    lines = HotLines(tmp_path / "lines.jsonl")
    lines.watch(threading.get_ident(), [""])
    lines.rest()
    decode_slowly(0.1)
    lines.close()
    assert lines._rest.total() <= 1  # a look may have been under way


def test_nothing_is_written_where_nothing_was_seen(tmp_path: Path) -> None:
    lines = HotLines(tmp_path / "lines.jsonl")
    lines.close()
    assert not (tmp_path / "lines.jsonl").exists()
    assert [thread.name for thread in threading.enumerate() if "hot-lines" in thread.name] == []


def test_a_file_that_cannot_be_written_ends_the_looking_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lines = HotLines(tmp_path / "file" / "lines.jsonl")
    lines.watch(threading.get_ident(), [""])
    decode_slowly(0.3)
    lines.rest()
    lines.watch(threading.get_ident(), [""])
    lines.close()


def test_the_hottest_come_first_and_the_rest_is_left_out() -> None:
    told = [{"lines": {f"a.py:{number} decode": number for number in range(1, 15)}}, {"lines": {"b.py:1 read": 95}}]
    top = hottest(told)
    assert len(top) == 10
    assert top[0] == {"where": "b.py:1 read", "share": 0.475}
    assert [one["share"] for one in top] == sorted((one["share"] for one in top), reverse=True)
    assert hottest([]) == []


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("load_image", "decode"), ("imread", "decode"), ("decodeJPEG", "decode"), ("read_file", "read")),
        *(("RandomCrop", "augment"), ("my_transform", "augment"), ("default_collate", "collate"), ("open", "read")),
        *(("thread", ""), ("ready", ""), ("dataloader", ""), ("__getitem__", ""), ("reopened", ""), ("", "")),
    ],
)
def test_a_word_in_the_name_decides(name: str, part: str) -> None:
    assert part_named(name) == part


def here() -> FrameType:
    return sys._getframe(1)


def load_image() -> FrameType:
    def somehow() -> FrameType:
        return here()

    return somehow()


def augment_it() -> FrameType:
    return load_image()


def test_the_innermost_name_that_speaks_decides() -> None:
    assert part_of(augment_it()) == "decode"


def test_names_that_say_nothing_are_no_part() -> None:
    assert part_of(here()) == ""
    assert part_of(None) == ""


def test_a_line_is_that_of_the_users_own_code() -> None:
    line = sys._getframe().f_lineno + 1
    assert own_line(here()) == f"test_frames.py:{line}"
    assert own_line(None) == ""


def test_of_a_library_the_line_that_called_it_counts() -> None:
    seen: list[str] = []

    class Encoder(json.JSONEncoder):
        def default(self, o: object) -> str:
            seen.append(own_line(sys._getframe().f_back))
            return "x"

    line = sys._getframe().f_lineno + 1
    json.dumps([object()], cls=Encoder)
    assert seen == [f"test_frames.py:{line}"]
