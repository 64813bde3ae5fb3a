"""Charts are well-formed, and empty without data."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from clearsight_sagemaker.rule_reports import distribution
from clearsight_sagemaker.svg_charts import boxes, columns, curve, histogram, shares

DEFAULTS = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def parsed(chart: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{chart}</div>")


@pytest.mark.parametrize("chart", [shares({}), shares({"a": 0.0}), boxes({}), columns([], [], "s"), histogram([], "s")])
def test_without_data_the_chart_is_empty(chart: Markup) -> None:
    assert chart == ""


def test_shares_have_a_legend_of_amounts_and_shares() -> None:
    chart = parsed(shares({"forward": 3.0, "<backward>": 1.0}))
    legend = [item.findtext("span") or "".join(item.itertext()) for item in chart.iter("li")]
    assert legend == ["forward: 3 s (75.0 %)", "<backward>: 1 s (25.0 %)"]
    first, second = chart.iter("rect")
    assert float(first.get("width", "0")) == pytest.approx(3 * float(second.get("width", "0")))


@DEFAULTS
@given(st.dictionaries(st.text(st.characters(exclude_categories=["C"]), max_size=6), st.floats(0, 1e6), max_size=9))
def test_shares_are_well_formed(parts: dict[str, float]) -> None:
    parsed(shares(parts))


@DEFAULTS
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_charts_of_any_numbers_are_well_formed(values: list[float]) -> None:
    box = distribution(values)
    assert box is not None
    assert len([*parsed(boxes({"gpu0": box, "a & b": box})).iter("g")]) == 2
    assert [*parsed(histogram(values, "s")).iter("rect")]


def test_a_histogram_counts_everything() -> None:
    titles = [title.text or "" for title in parsed(columns([1, 3], [0.0, 50.0, 100.0], "%")).iter("title")]
    assert titles == ["0 to 50 %: 1", "50 to 100 %: 3"]


def test_a_curve_over_time() -> None:
    drawn = str(curve([0.0, 1.0, 4.0], [2.0, 1.0, 0.5], "loss <1>"))
    assert "loss &lt;1&gt;: 3 values, 0.5 to 2" in drawn
    points = [tuple(map(float, point.split(","))) for point in drawn.split('points="')[1].split('"')[0].split()]
    assert [x for x, _ in points] == [0.0, 160.0, 640.0]
    assert [y for _, y in points] == sorted(y for _, y in points)  # it falls, which is downwards
    assert curve([0.0], [1.0], "loss") == ""
    assert "polyline" in curve([0.0, 1.0], [3.0, 3.0], "constant")
