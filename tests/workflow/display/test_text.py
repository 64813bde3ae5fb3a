"""Tables of text have aligned columns."""

from __future__ import annotations

from clearsight.workflow.display.text import table


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    assert table(("name", "points"), [("loss", "7"), ("accuracy", "1,000")], right=(1,)) == [
        "name      points",
        "loss           7",
        "accuracy   1,000",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    assert table(("a", "b"), []) == ["a  b"]
