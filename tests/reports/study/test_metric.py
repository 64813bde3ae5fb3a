from __future__ import annotations

import math

import pytest

from clearsight.core.trial import Objective
from clearsight.reports.study.metric import named, short, titled, value_axis, written


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
def test_values_are_written_as_their_metric_asks(metric: str, value: float | None, words: str) -> None:
    assert written(metric, value) == words


def test_names_are_words() -> None:
    assert (named("macro_f1"), titled("macro_f1"), titled("accuracy")) == ("macro F1", "Macro F1", "Accuracy")


def test_only_a_wide_spread_needs_logarithms() -> None:
    loss = Objective("loss", "minimize")
    assert "type" not in value_axis(loss, [0.3, 2.0])
    assert value_axis(loss, [0.3, 2e6, math.nan])["type"] == "log"
    assert "type" not in value_axis(loss, [-1.0, 2e6])
    assert value_axis(loss, []) == {"title_text": "loss", "nticks": 7}


def test_what_is_no_number_is_a_gap() -> None:
    assert (short(1 / 3), short(math.nan), short(math.inf)) == (0.33333, None, None)
