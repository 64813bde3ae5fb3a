"""Columns line up."""

from __future__ import annotations

from clearsight.cli.shared import table


def test_columns_are_as_wide_as_what_stands_in_them() -> None:
    assert table(("name", "points"), [("loss", "7"), ("accuracy", "1,000")], right=(1,)) == [
        "name      points",
        "loss           7",
        "accuracy   1,000",
    ]


def test_no_rows_is_the_head() -> None:
    assert table(("a", "b"), []) == ["a  b"]
