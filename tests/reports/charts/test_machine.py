from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from clearsight.core.profile import LOAD_PARTS, PHASES, SPAN_NAMES
from clearsight.reports.charts import machine as charts
from clearsight.reports.charts.gauges import TimeSeries
from clearsight.reports.charts.series import ScalarSeries


def lines(count: int) -> list[TimeSeries]:
    return [TimeSeries(f"<b>{i}", np.arange(3.0), np.full(3, float(i))) for i in range(count)]


@pytest.mark.parametrize("family", [(*PHASES, "rest"), LOAD_PARTS, (*SPAN_NAMES, "training", "rest")])
def test_parts_of_one_bar_differ_by_hatching_where_they_share_a_colour(family: tuple[str, ...]) -> None:
    figure = charts.stacked_bars({"bar": dict.fromkeys(family, 1.0)}, unit="ms")
    styles = {(trace.marker.color, trace.marker.pattern.shape) for trace in figure.data}
    assert len(styles) == len(family)


def test_parts_of_a_bar_carry_their_name_and_share() -> None:
    figure = charts.stacked_bars({"step": {"data": 30.0, "forward": 69.0, "loss": 1.0}}, unit="ms")
    assert [trace.text[0] for trace in figure.data] == ["data 30%", "forward 69%", ""]
    assert figure.layout.xaxis.range == (0, 100)


def test_the_first_bar_is_on_top_and_a_missing_part_is_zero() -> None:
    figure = charts.stacked_bars({"thread": {"data": 2.0, "forward": 1.0}, "GPU": {"forward": 3.0}}, unit="ms")
    assert list(figure.layout.yaxis.ticktext) == ["GPU", "thread"]
    assert [list(trace.x) for trace in figure.data] == [[0.0, 2.0], [3.0, 1.0]]


def test_lines_differ_without_colour_and_spans_are_shaded() -> None:
    figure = charts.time_lines(lines(6), unit="%", clock="seconds", top=102, shades=[(0.5, 1.0)])
    assert len({trace.line.dash for trace in figure.data}) == 6
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (0.5, 1.0)
    assert figure.layout.yaxis.range == (0, 102)


def test_more_lines_than_styles_are_all_drawn() -> None:
    assert len(charts.time_lines(lines(20), unit="%", clock="seconds").data) == 20


def test_a_map_of_many_cores_has_a_row_each_and_gaps_without_samples() -> None:
    values = np.array([[1.4, np.nan], [99.6, 3.0]])
    figure = charts.time_map(["core 0", "core 1"], [0.0, 1.0], values, clock="seconds")
    assert [list(row) for row in figure.data[0].z] == [[1, None], [100, 3]]
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]


def test_a_map_of_a_hundred_cores_names_some_of_them() -> None:
    figure = charts.time_map([str(i) for i in range(128)], [0.0], np.zeros((128, 1)), clock="seconds")
    assert len(figure.layout.yaxis.ticktext) <= 26
    assert figure.layout.height <= 520


def test_columns_name_at_most_a_dozen_places() -> None:
    figure = charts.stacked_columns([str(i) for i in range(40)], {"data": [1.0] * 40}, unit="ms", axis="epoch")
    assert len(figure.layout.xaxis.ticktext) <= 14
    assert len(figure.data[0].x) == 40


def test_the_histogram_marks_only_what_is_inside() -> None:
    figure = charts.duration_histogram([0.0, 10.0, 20.0], [3, 1], {"p50": 8.0, "p99": 700.0})
    assert [note.text for note in figure.layout.annotations] == ["p50"]
    assert list(figure.data[0].x) == [5.0, 15.0]


def test_outliers_are_marked() -> None:
    steps = ScalarSeries(np.arange(1, 5001), np.ones(5000))
    figure = charts.step_durations(steps, ScalarSeries(np.array([7]), np.array([99.0])))
    assert len(figure.data[0].x) <= 600
    assert list(figure.data[1].x) == [7]
    assert len(charts.step_durations(steps, ScalarSeries(np.array([], int), np.array([]))).data) == 1


@pytest.mark.parametrize(
    "figure",
    [
        charts.stacked_bars({"<b>": {"<i>": 1.0}}, unit="ms"),
        charts.stacked_columns(["<b>"], {"<i>": [1.0]}, unit="ms", axis="epoch"),
        charts.time_lines(lines(1), unit="%", clock="seconds"),
        charts.time_map(["<b>"], [0.0], [[1.0]], clock="seconds"),
    ],
)
def test_names_are_text(figure: go.Figure) -> None:
    text = str(figure.to_plotly_json())
    assert "<b>" not in text
    assert "<i>" not in text
