"""Durations, speeds, counts and sizes have one text form each."""

from __future__ import annotations

import pytest

from clearsight.core.format import count, duration, parse_duration, rate, several, size, speed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (59.97, "1 min 00 s"),
        (65.4, "1 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), (" 10M ", 600), ("1.5h", 5400), ("2d", 172800), ("1e3", 1000)],
)
def test_parses_seconds_with_or_without_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-3s", "3 weeks", "nan", "inf"])
def test_refuses_text_that_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number of seconds, or a time such as 90s, 10m, 2h or 1d"):
        parse_duration(text)


def test_speeds_keep_a_decimal_only_below_10() -> None:
    assert [speed(value) for value in (3.42, 9.94, 9.96, 1234.5)] == [
        "3.4 images/s",
        "9.9 images/s",
        "10 images/s",
        "1,234 images/s",
    ]
    assert rate(3.42) == "3.4"


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(1, "epoch", "1 epoch"), (0, "epoch", "0 epochs"), (2, "class", "2 classes"), (401059, "file", "401,059 files")],
)
def test_counts_with_their_noun(number: int, noun: str, text: str) -> None:
    assert several(number, noun) == text
    assert text.startswith(count(number))


def test_sizes_are_in_mebibytes_or_gibibytes() -> None:
    assert (size(512 * 2**20), size(1.5 * 2**30)) == ("512 MiB", "1.5 GiB")
