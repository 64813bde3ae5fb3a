from __future__ import annotations

import math

import numpy as np

from clearsight.reports.charts.series import ScalarSeries, rounded, series_by_name


def test_rows_are_grouped_by_mode_and_name_in_order() -> None:
    rows = [
        {"step": 1, "mode": "train", "name": "loss", "value": 2.0},
        {"step": 1, "mode": "eval", "name": "loss", "value": 9.0},
        {"step": 2, "mode": "train", "name": "loss", "value": 1.0},
    ]
    series = series_by_name(rows)
    assert set(series) == {("train", "loss"), ("eval", "loss")}
    assert series["train", "loss"].steps.tolist() == [1, 2]
    assert series["train", "loss"].values.tolist() == [2.0, 1.0]


def test_values_that_are_not_finite_are_left_out_and_counted() -> None:
    rows = [
        {"step": i, "mode": "train", "name": "loss", "value": v} for i, v in enumerate([1.0, float("nan"), None, 2.0])
    ]
    series = series_by_name(rows)["train", "loss"]
    assert series.steps.tolist() == [0, 3]
    assert series.broken == 2


def test_thinning_a_million_points_keeps_the_single_spike() -> None:
    values = np.zeros(1_000_000)
    values[123_456], values[777_777] = 50.0, -3.0
    thin = ScalarSeries(np.arange(1_000_000), values).thinned(600)
    assert len(thin) <= 600
    assert thin.values.max() == 50.0
    assert thin.values.min() == -3.0
    assert (np.diff(thin.steps) > 0).all()


def test_smoothing_is_a_median_so_one_spike_changes_nothing() -> None:
    values = np.full(1000, 2.0)
    values[500] = 1e6
    smooth = ScalarSeries(np.arange(1000), values).smoothed(50)
    assert len(smooth) == 50
    assert set(smooth.values) == {2.0}


def test_short_series_stay_as_they_are() -> None:
    series = ScalarSeries(np.arange(5), np.arange(5.0))
    assert series.thinned(600) is series
    assert series.smoothed(60) is series
    assert series.smoothed(60, least=8) is series


def test_numbers_of_a_chart_have_five_digits_or_are_a_gap() -> None:
    assert (rounded(1 / 3), rounded(math.nan), rounded(math.inf)) == (0.33333, None, None)
