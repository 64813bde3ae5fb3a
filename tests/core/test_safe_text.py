"""Names of files and classes act neither on a terminal nor in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.safe_text import StyledLine, csv_rows, csv_text, printable, printable_line, shown_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("back\x08\rover", r"back\x08\x0dover"),
        ("猫 собака ñandú 🐶 e\u0301", "猫 собака ñandú 🐶 e\u0301"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_what_would_act_is_written_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_name_cannot_add_a_line() -> None:
    assert printable_line("cat\nerror: the disk is full") == r"cat\nerror: the disk is full"
    assert printable_line(StyledLine("\033[31mred\033[0m")) == "\033[31mred\033[0m"


@given(st.text(st.characters()))
def test_nothing_printed_is_a_control_character(text: str) -> None:
    assert not [
        letter for letter in printable_line(text) if unicodedata.category(letter) in ("Cc", "Cs") and letter != "\t"
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_is_exact_and_plain(text: str) -> None:
    written = shown_json({"name": text})
    assert json.loads(written) == {"name": text}
    assert printable(written) == written


def test_json_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        shown_json(float("nan"))


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1+cmd", "@SUM(A1)", "-2+3+cmd|'/C calc'!A0", "\t=1", "\r=1", "\n=1", " =1", "＝1", "\u200b=1", "-", "="],
)
def test_a_formula_becomes_text(text: str) -> None:
    (cell,) = next(csv.reader(io.StringIO(csv_text([[text]]))))
    assert cell == f"'{text}"


@pytest.mark.parametrize("text", ["cat", "-5", "+1.5e-3", "a=b", "1-2", "'tis", "n02085620-Chihuahua", ""])
def test_other_text_and_numbers_stay(text: str) -> None:
    assert next(csv.reader(io.StringIO(csv_text([[text, "x"]]))))[0] == text


# A carriage return alone would be a new line to a reader of CSV; the module quotes it.
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=2))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, row: list[str]) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_text(csv_text([["=name", "path"], row]), encoding="utf-8", newline="")
    assert csv_rows(path) == [dict(zip(["=name", "path"], row, strict=True))]
