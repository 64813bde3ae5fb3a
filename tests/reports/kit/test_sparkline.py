from __future__ import annotations

import math

from clearsight.core.finding import Series
from clearsight.reports.kit.sparkline import HEIGHT, WIDTH, sparkline


def test_the_highest_value_is_on_top_and_the_line_fills_the_width() -> None:
    line = sparkline(Series("loss", (1, 2, 3), (0.0, 1.0, 0.5)))
    assert line is not None
    assert line.path == f"M4.0 {HEIGHT - 4.0}h0L{WIDTH / 2:.1f} 4.0L{WIDTH - 4.0} {HEIGHT / 2:.1f}"


def test_it_has_a_description_a_caption_and_a_table() -> None:
    line = sparkline(Series("loss", (1, 50, 90), (2.3, 9.0, 1.1)))
    assert line is not None
    assert line.description == "loss: 2.3 at step 1, 1.1 at step 90, from 1.1 to 9 over 3 points."
    assert line.caption == "2.3 → 1.1, between 1.1 and 9"
    assert line.table.rows == (("1", "2.3"), ("50", "9"), ("90", "1.1"))


def test_a_value_that_is_not_finite_is_a_gap() -> None:
    line = sparkline(Series("loss", (1, 2, 3, 4), (1.0, math.nan, math.inf, 2.0)))
    assert line is not None
    assert line.path.count("M") == 2
    assert "nan" not in line.path
    assert [row[1] for row in line.table.rows] == ["1", "nan", "inf", "2"]


def test_flat_and_single_values_are_in_the_middle() -> None:
    for series in (Series("x", (1, 2), (7.0, 7.0)), Series("x", (5,), (7.0,))):
        line = sparkline(series)
        assert line is not None
        assert f" {HEIGHT / 2}" in line.path


def test_without_finite_values_there_is_no_line() -> None:
    assert sparkline(Series("x", (), ())) is None
    assert sparkline(Series("x", (1,), (math.nan,))) is None


def test_the_table_has_few_rows() -> None:
    line = sparkline(Series("x", tuple(range(200)), tuple(map(float, range(200)))))
    assert line is not None
    assert len(line.table.rows) == 10
