"""Text tables as Excel, pandas, R and people write them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight.core.errors import BadData
from clearsight.data.readers.support.delimited import names_images, open_delimited

ROWS = ["a.jpg,cat", "b.jpg,dog"]
READ = [["a.jpg", "cat"], ["b.jpg", "dog"]]


def read(path: Path, content: str, encoding: str = "utf-8") -> tuple[tuple[str, ...], list[list[str]]]:
    path.write_bytes(content.encode(encoding))
    table = open_delimited(path)
    return table.names, [cells for _, cells in table.rows()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings(tmp_path: Path, encoding: str, end: str) -> None:
    assert read(tmp_path / "t.csv", end.join(["path,läbel", *ROWS, ""]), encoding) == (("path", "läbel"), READ)


@pytest.mark.parametrize(
    "before",
    ["\n", "\n\n", ",\n", "sep=,\n", '"sep=,"\n', "# written by a tool\n", "# path of the file\n\n# and its label\n"],
)
def test_lines_before_the_header_are_skipped(tmp_path: Path, before: str) -> None:
    content = before + "\n".join(["path,label", *ROWS, ""])
    assert read(tmp_path / "t.csv", content) == (("path", "label"), READ)
    first = before.count("\n") + 2
    assert [line for line, _ in open_delimited(tmp_path / "t.csv").rows()] == [first, first + 1]


@pytest.mark.parametrize("mark", [";", "\t", "|", ","])
def test_the_separator_is_found_or_named_by_excel(tmp_path: Path, mark: str) -> None:
    content = "\n".join(["path,label", *ROWS]).replace(",", mark)
    assert read(tmp_path / "t.csv", content) == (("path", "label"), READ)
    assert read(tmp_path / "t.csv", f"sep={mark}\n{content}") == (("path", "label"), READ)


def test_separators_in_quotes_do_not_count(tmp_path: Path) -> None:
    content = '"path, of; the; file";"label"\n"a, b.jpg";"cat; big"\n'
    assert read(tmp_path / "t.csv", content) == (("path, of; the; file", "label"), [["a, b.jpg", "cat; big"]])


@pytest.mark.parametrize("header", ["path,label", "path,label,", "path, label,,"])
def test_empty_cells_at_the_end_of_lines_are_none(tmp_path: Path, header: str) -> None:
    assert read(tmp_path / "t.csv", "\n".join([header, "a.jpg,cat,", "b.jpg,dog"])) == (("path", "label"), READ)


def test_comments_and_blank_rows_are_no_rows(tmp_path: Path) -> None:
    content = "path,label\na.jpg,cat\n,\n\n# b.jpg, out of focus\n#c\nb.jpg,dog\n#1.jpg,cat\n"
    assert read(tmp_path / "t.csv", content)[1] == [*READ, ["#1.jpg", "cat"]]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (["a.jpg,cat", "b.jpg,dog"], ("path", "label")),
        (["cat;imgs/a.JPG", "dog;imgs/b.JPG"], ("label", "path")),
        (["a.png,cat,train", "b.png,dog,val"], ("path", "label", "split")),
        (["0,a.jpg,cat", "1,b.jpg,dog"], ("row", "path", "label")),
        (["a.jpg,cat,male", "b.jpg,dog,female"], ("path", "column 2", "column 3")),
        (["a.jpg", "b.jpg"], ("path",)),
    ],
)
def test_a_table_without_a_header_is_read_and_reported(tmp_path: Path, rows: list[str], names: tuple[str, ...]) -> None:
    found = read(tmp_path / "t.csv", "\n".join(rows))
    assert (found[0], len(found[1])) == (names, 2)
    [notice] = open_delimited(tmp_path / "t.csv").notices
    assert notice.text == f"line 1 is a row, not a header: the columns are taken for {', '.join(names)}"


def test_a_header_that_is_repeated_is_no_row(tmp_path: Path) -> None:
    content = "\n".join(["path,label", ROWS[0], "path,label", ROWS[1]])
    assert read(tmp_path / "t.csv", content) == (("path", "label"), READ)


def test_lists_separated_by_spaces(tmp_path: Path) -> None:
    assert read(tmp_path / "t.txt", "a.jpg cat\nb.jpg dog\n") == (("path", "label"), READ)
    assert read(tmp_path / "t.csv", "path of image\na.jpg\n")[0] == ("path of image",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        *[("a.jpg 0\nb.jpg 1\n", True), ("path,label\na,b\n", True), ("image_id\tclass\n1\t2\n", True)],
        *[("no data here", False), ("a.jpg\nb.jpg\n", False), ("Hello, world", False), ("", False)],
    ],
)
def test_a_text_file_may_be_a_table(tmp_path: Path, content: str, expected: bool) -> None:
    (tmp_path / "t.txt").write_text(content)
    assert names_images(tmp_path / "t.txt") is expected


def test_a_header_may_be_a_comment(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "# path,label\na.jpg,cat\nb.jpg,dog\n") == (("path", "label"), READ)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n\n \n", "empty"),
        (b"sep=;\n", "empty"),
        ("path,label\nforêt.jpg,b\n".encode("cp1252"), "not UTF-8"),
        (b"path,label\na.jpg,cat,big\n", "line 2 has 3 cells, the header has 2. Quote cells"),
        (b"\xff\xfep\x00a", "not UTF-8|no rows|line"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(BadData, match=words):
        next(open_delimited(tmp_path / "t.csv").rows(), None)


@settings(max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with contextlib.suppress(BadData):
        table = open_delimited(tmp_path / "t.csv")
        assert all(len(cells) == len(table.names) for _, cells in table.rows())
