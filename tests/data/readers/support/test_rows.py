"""CSV, JSON lines and Parquet are read as rows of text."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight.core.errors import BadChoice, BadData, MissingExtra
from clearsight.data.readers.support.column_names import PATHS
from clearsight.data.readers.support.rows import open_table, text


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_of_any_separator(tmp_path: Path, separator: str) -> None:
    rows = open_table(
        write(
            tmp_path / "a.csv", f'path{separator}label\r\n"a {separator} b.jpg"{separator} cat \r\nc.jpg{separator}\r\n'
        )
    )
    assert rows.names == ("path", "label")
    assert list(rows.pick("label", None, "path")) == [
        (2, ("cat", None, f"a {separator} b.jpg")),
        (3, (None, None, "c.jpg")),
    ]


def test_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert open_table(write(tmp_path / "a.csv", "path,label\n", "utf-8-sig")).names == ("path", "label")


def test_jsonl_takes_the_union_of_keys(tmp_path: Path) -> None:
    rows = open_table(write(tmp_path / "a.jsonl", '{"path": "a", "label": 3}\n\n{"path": "b", "split": "train"}\n'))
    assert rows.names == ("path", "label", "split")
    assert list(rows.pick("label", "split")) == [(1, ("3", None)), (3, (None, "train"))]


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = arrow.table({"path": ["a", "b"], "label": [1.0, None], "other": [b"x", b"y"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    rows = open_table(tmp_path / "a.parquet")
    assert rows.names == ("path", "label", "other")
    assert list(rows.pick("label", "path")) == [(1, ("1", "a")), (2, (None, "b"))]
    write(tmp_path / "b.parquet", "not parquet")
    with pytest.raises(BadData, match="damaged, cut short, or no Parquet"):
        open_table(tmp_path / "b.parquet")


def test_parquet_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"clearsight\[parquet\]"):
        open_table(write(tmp_path / "a.parquet", "PAR1"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "empty"),
        ("a.csv", "path,label\na.jpg\n", "line 2 has 1 cells, the header has 2"),
        ("a.csv", "path,label\nä,b\n", "not UTF-8"),
        ("a.jsonl", "", "empty"),
        ("a.jsonl", "{broken\n", "line 1 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("a.jsonl", '{"path": "ä"}', "not UTF-8"),
    ],
)
def test_damage_is_reported_with_its_line(tmp_path: Path, name: str, content: str, words: str) -> None:
    with pytest.raises(BadData, match=words):
        list(open_table(write(tmp_path / name, content, "latin1")).pick("path"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_lines_of_json_are_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(BadData, match="it is UTF-16 text, not UTF-8"):
        open_table(write(tmp_path / "a.jsonl", '{"path": "a.jpg"}\n', encoding))


def test_columns_by_given_or_usual_name(tmp_path: Path) -> None:
    rows = open_table(write(tmp_path / "a.csv", "Image Path,Label,file\n"))
    assert rows.column("Label", "--label-column") == "Label"
    assert rows.column(None, "--label-column") is None
    assert rows.usual(PATHS) == ["file", "Image Path"]
    with pytest.raises(BadChoice, match="Did you mean Label"):
        rows.column("lable", "--label-column")


def test_whole_numbers_are_written_without_a_decimal_point() -> None:
    assert [text(value) for value in (3, 3.0, 2.5, None, float("nan"), " a ", "", True)] == [
        *("3", "3", "2.5", None, None, "a", None, "True")
    ]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=8)


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_what_is_written_is_read(tmp_path: Path, table: list[tuple[str, str]]) -> None:
    write(tmp_path / "a.jsonl", "".join(json.dumps({"path": a, "label": b}) + "\n" for a, b in table))
    expected = [(a.strip() or None, b.strip() or None) for a, b in table]
    assert [row for _, row in open_table(tmp_path / "a.jsonl").pick("path", "label")] == expected
    quoted = "".join('"{}","{}"\n'.format(a.replace('"', '""'), b.replace('"', '""')) for a, b in table)
    write(tmp_path / "a.csv", "path,label\n" + quoted)
    rows = [row for row in expected if row != (None, None) and not (row[0] or "").startswith("# ")]
    assert [row for _, row in open_table(tmp_path / "a.csv").pick("path", "label")] == rows
