"""Axes end where a score ends, and are logarithmic where its values span decades."""

from __future__ import annotations

import math

import plotly.graph_objects as go
import pytest

from clearsight.reports.charts.axes import score_axis, set_score_axis


@pytest.mark.parametrize("metric", ["accuracy", "top5", "macro_f1", "roc_auc"])
def test_a_score_in_0_to_1_has_an_axis_within_0_to_1(metric: str) -> None:
    assert score_axis(metric, [0.97, 1.0, 1.0])["autorangeoptions"] == {"clipmin": 0.0, "clipmax": 1.0}


def test_a_loss_has_no_axis_below_0() -> None:
    assert score_axis("loss", [0.01, 0.2])["autorangeoptions"] == {"clipmin": 0.0}


def test_a_limit_that_a_value_breaks_is_no_limit() -> None:
    assert "autorangeoptions" not in score_axis("loss", [-1.0, 2.0])


def test_a_score_that_nobody_knows_has_no_limits() -> None:
    assert score_axis("my_score", [3.0]) == {"nticks": 7}


@pytest.mark.parametrize(
    ("values", "is_log"),
    [([0.1, 2.0], False), ([0.01, 2.0], True), ([0.0, 2.0], False), ([-1.0, 2e6], False), ([0.3, 2e6, math.nan], True)],
)
def test_a_loss_over_decades_has_a_logarithmic_axis(values: list[float], is_log: bool) -> None:
    assert (score_axis("loss", values).get("type") == "log") == is_log


def test_a_share_stays_linear_however_small_it_was() -> None:
    assert "type" not in score_axis("accuracy", [0.001, 0.9])


def test_whole_per_cents_do_not_repeat() -> None:
    assert score_axis("accuracy", [0.95, 0.96])["tickformat"] == ".1%"
    assert score_axis("accuracy", [0.5, 0.96])["tickformat"] == ".0%"


def test_markers_at_the_end_of_the_axis_are_drawn_whole() -> None:
    figure = go.Figure().add_scatter(x=[1], y=[1.0])
    set_score_axis(figure, "accuracy", [1.0])
    assert figure.data[0].cliponaxis is False
