from __future__ import annotations

import pytest

from clearsight.core.errors import BadShape
from clearsight.reports.table import table


def test_cells_are_written_out() -> None:
    made = table("Counts", ("class", "pictures"), "lr", [("sea", 40)])
    assert made.rows == (("sea", "40"),)
    assert [made.side(0), made.side(1)] == ["words", "number"]


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadShape, match="must have 2 cells"):
        table("Counts", ("class", "pictures"), "lr", [("sea",)])
    with pytest.raises(BadShape, match="must have 2 cells"):
        table("Counts", ("class", "pictures"), "l", [])
