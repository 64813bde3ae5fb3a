from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.statistics import Interval
from clearsight.reports.kit.format import (
    clipped,
    general,
    percent,
    percent_span,
    score,
    score_span,
    sentence,
    status_tone,
)


def test_shares_have_one_decimal() -> None:
    assert percent(0.8834) == "88.3%"
    assert percent_span(Interval(0.837, 1)) == "83.7% to 100.0%"


def test_scores_have_three() -> None:
    assert score(0.88349) == "0.883"
    assert score_span(Interval(0.5, 0.75)) == "0.500 to 0.750"


@pytest.mark.parametrize("write", [percent, score, percent_span, score_span, general])
def test_an_unknown_value_is_a_dash(write: object) -> None:
    assert write(None) == "–"  # type: ignore[operator]


def test_a_loss_that_is_not_finite_is_shown() -> None:
    assert general(float("nan")) == "nan"
    assert percent(float("nan")) == "–"


def test_text_becomes_a_sentence() -> None:
    assert sentence("the loss rose") == "The loss rose."
    assert sentence("Was it 3.5? ") == "Was it 3.5?"
    assert sentence("") == ""


@given(st.text(), st.integers(8, 40))
def test_clipped_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    shown = clipped(text, width)
    assert len(shown) <= width
    assert shown == text or (shown[:3] == text[:3] and shown[-3:] == text[-3:])


@pytest.mark.parametrize(
    ("status", "tone"),
    [("completed", "good"), ("stopped_early", ""), ("diverged", "bad"), ("running", "open"), ("sea", "")],
)
def test_a_status_has_a_tone(status: str, tone: str) -> None:
    assert status_tone(status) == tone
