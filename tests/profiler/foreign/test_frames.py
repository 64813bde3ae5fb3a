"""Frames: the names of functions tell the part."""

from __future__ import annotations

import json
import sys
from types import FrameType

import pytest

from clearsight.profiler.foreign.frames import own_line, part_named, part_of


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


def load_picture() -> FrameType:
    def somehow() -> FrameType:
        return here()

    return somehow()


def augment_it() -> FrameType:
    return load_picture()


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
