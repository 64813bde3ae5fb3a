from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.reports.kit.format import (
    clipped,
    count,
    duration,
    general,
    percent,
    percent_span,
    score,
    score_span,
    several,
)
from clearsight.reports.statistics import Interval


def test_shares_have_one_decimal() -> None:
    assert percent(0.8834) == "88.3%"
    assert percent_span(Interval(0.837, 1)) == "83.7% to 100.0%"


def test_scores_have_three() -> None:
    assert score(0.88349) == "0.883"
    assert score_span(Interval(0.5, 0.75)) == "0.500 to 0.750"


@pytest.mark.parametrize("write", [percent, score, percent_span, score_span, general])
def test_what_is_unknown_is_a_dash(write: object) -> None:
    assert write(None) == "–"  # type: ignore[operator]


def test_a_broken_loss_is_said() -> None:
    assert general(float("nan")) == "nan"
    assert percent(float("nan")) == "–"


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [(1, "epoch", "1 epoch"), (0, "epoch", "0 epochs"), (2, "class", "2 classes"), (401059, "file", "401,059 files")],
)
def test_counts_with_their_noun(number: int, noun: str, said: str) -> None:
    assert several(number, noun) == said
    assert said.startswith(count(number))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (65.4, "1 min 05 s"), (3599.7, "1 h 00 min"), (7620, "2 h 07 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@given(st.text(), st.integers(8, 40))
def test_clipped_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    shown = clipped(text, width)
    assert len(shown) <= width
    assert shown == text or (shown[:3] == text[:3] and shown[-3:] == text[-3:])
