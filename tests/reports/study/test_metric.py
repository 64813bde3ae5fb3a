from __future__ import annotations

import math

import plotly.graph_objects as go
import pytest

from clearsight.core.trial import Objective
from clearsight.reports.study.metric import format_metric, metric_name, metric_title, set_value_axis


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        ("accuracy", 0.8832, "88.3%"),
        ("macro_f1", 0.8832, "0.883"),
        ("loss", 0.41312, "0.4131"),
        ("seconds", 245.0, "4 min 05 s"),
        ("parameters", 2_236_682.0, "2,236,682"),
        ("images_per_second", 1234.5, "1,234"),
        ("loss", math.inf, "inf"),
        ("accuracy", None, "–"),
    ],
)
def test_values_have_the_format_of_their_metric(metric: str, value: float | None, words: str) -> None:
    assert format_metric(metric, value) == words


def test_names_and_titles() -> None:
    assert (metric_name("macro_f1"), metric_title("macro_f1"), metric_title("accuracy")) == (
        "macro F1",
        "Macro F1",
        "Accuracy",
    )


def test_the_axis_has_the_name_of_the_objective_and_the_limits_of_its_metric() -> None:
    figure = go.Figure()
    set_value_axis(figure, Objective("accuracy", "maximize"), [0.9, 1.0], axis="x", nticks=5)
    axis = figure.layout.xaxis
    assert (axis.title.text, axis.nticks, axis.autorangeoptions.clipmax) == ("accuracy", 5, 1.0)
