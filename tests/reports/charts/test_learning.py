from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from clearsight.reports.charts import learning as charts
from clearsight.reports.charts.series import ScalarSeries


def series(length: int) -> ScalarSeries:
    return ScalarSeries(np.arange(1, length + 1), np.linspace(2, 1, length))


def test_training_and_validation_differ_without_colour() -> None:
    train, valid = charts.learning_curve([1, 2], [2.0, 1.0], [2.5, None], best=2).data
    assert (train.name, valid.name) == ("training", "validation")
    assert list(valid.y) == [2.5, None]
    assert train.line.dash != valid.line.dash
    assert train.marker.symbol != valid.marker.symbol


def test_a_side_without_values_is_left_out() -> None:
    assert [trace.name for trace in charts.learning_curve([1], [None], [0.5]).data] == ["validation"]


def test_the_best_epoch_is_marked() -> None:
    assert charts.learning_curve([1, 2], [2, 1], [2, 1], best=2).layout.shapes[0].x0 == 2
    assert not charts.learning_curve([1, 2], [2, 1], [2, 1]).layout.shapes


def test_a_long_run_is_drawn_with_few_points_and_a_short_one_with_all() -> None:
    long = charts.step_curve(series(200_000), series(100))
    assert [trace.name for trace in long.data] == ["each step", "running median", "validation"]
    assert all(len(trace.x) <= 600 for trace in long.data)
    assert [trace.name for trace in charts.step_curve(series(6)).data] == ["each step"]


def test_learning_rate_starts_its_axis_at_zero() -> None:
    figure = charts.rate_curve(series(10), unit="epoch")
    assert figure.layout.yaxis.rangemode == "tozero"
    assert figure.layout.xaxis.title.text == "epoch"


def test_confusion_is_coloured_by_row_and_labelled_with_counts() -> None:
    figure = charts.confusion_matrix(["cat", "dog"], [[8, 2], [0, 1]])
    assert np.array(figure.data[0].z).tolist() == [[0.8, 0.2], [0.0, 1.0]]
    cells = {(note.y, note.x): (note.text, note.name) for note in figure.layout.annotations}
    assert cells == {(0, 0): ("8", "on-colour"), (0, 1): ("2", "on-paper"), (1, 1): ("1", "on-colour")}
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the first class on top


def test_part_of_a_confusion_matrix_is_coloured_by_the_whole_row() -> None:
    figure = charts.confusion_matrix(["cat"], [[5]], totals=[10])
    assert np.array(figure.data[0].z).tolist() == [[0.5]]


def test_a_class_without_images_has_shares_of_zero() -> None:
    assert np.array(charts.confusion_matrix(["a", "b"], [[1, 0], [0, 0]]).data[0].z).tolist() == [[1, 0], [0, 0]]


def test_classes_are_sorted_by_f1_and_scores_differ_without_colour() -> None:
    scores = {n: {"f1": f, "precision": f, "recall": f, "support": 9} for n, f in (("a", 0.9), ("b", 0.5), ("c", 0.7))}
    figure = charts.per_class_bars(scores)
    assert list(figure.layout.yaxis.ticktext) == ["b", "c", "a"]  # upwards: the best on top
    assert list(figure.data[0].x) == [0.5, 0.7, 0.9]
    assert len({trace.marker.symbol for trace in figure.data[1:]}) == 2


def test_reliability_has_an_interval_for_each_bin_and_skips_empty_ones() -> None:
    bins = [{"confidence": 0.6, "accuracy": 0.5, "count": 10}, {"confidence": 0.9, "accuracy": 0.0, "count": 0}]
    points = charts.reliability_diagram(bins).data[1]
    assert list(points.x) == [0.6]
    assert points.y[0] + points.error_y.array[0] == pytest.approx(0.7634, abs=1e-3)
    assert points.y[0] - points.error_y.arrayminus[0] == pytest.approx(0.2366, abs=1e-3)


def test_splits_are_stacked_and_hatched_apart() -> None:
    figure = charts.class_count_bars({"train": {"a": 3, "b": 1}, "valid": {"a": 1}, "test": {"b": 9}}, ["a", "b"])
    assert list(figure.layout.yaxis.ticktext) == ["a", "b"]
    assert [list(trace.x) for trace in figure.data] == [[3, 1], [1, 0], [0, 9]]
    assert len({trace.marker.pattern.shape for trace in figure.data}) == 3


def test_sizes_keep_their_order() -> None:
    figure = charts.size_histogram([("64–95", 3), ("96+", 7)])
    assert list(figure.layout.xaxis.ticktext) == ["64–95", "96+"]
    assert list(figure.data[0].y) == [3, 7]


@pytest.mark.parametrize(
    "figure",
    [
        charts.confusion_matrix(["<b>x</b>", "1", "01"], np.eye(3, dtype=int)),
        charts.per_class_bars(
            {n: {"f1": 1, "precision": 1, "recall": 1, "support": 1} for n in ("<b>x</b>", "1", "01")}
        ),
        charts.class_count_bars({"train": {"<b>x</b>": 1}}, ["<b>x</b>", "1", "01"]),
        charts.size_histogram([("<b>x</b>", 1), ("1", 1), ("01", 1)]),
    ],
)
def test_names_are_text_at_their_own_position(figure: go.Figure) -> None:
    """They are neither markup nor numbers, and names that look the same as numbers stay apart."""
    axis = figure.layout.yaxis if figure.layout.yaxis.ticktext else figure.layout.xaxis
    assert set(axis.ticktext) == {"&lt;b&gt;x&lt;/b&gt;", "1", "01"}
    assert list(axis.tickvals) == [0, 1, 2]


@pytest.mark.parametrize(
    "figure",
    [charts.learning_curve([1], [1.0], [1.0]), charts.step_curve(series(9)), charts.size_histogram([("1", 1)])],
)
def test_figures_leave_background_and_text_colours_to_the_page(figure: go.Figure) -> None:
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert figure.layout.font.color is None
    assert len(figure.to_json()) < 4_000  # no template of plotly's own inside
