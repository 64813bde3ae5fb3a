"""Every kind of setting has an axis, and every value a position on it."""

from __future__ import annotations

import pytest

from clearsight.core.space import Choice, Dimension, Domain, FloatRange, IntRange, Space, Value
from clearsight.reports.study.field_axis import FieldAxis, value_text
from tests.reports.study.studied import done


def axis(domain: Domain, *values: Value) -> FieldAxis:
    trials = [done(i, params={"x": value}, value=0.5, planned=1) for i, value in enumerate(values)]
    return FieldAxis.of("x", Space((Dimension(name="x", domain=domain),)), trials)


def test_a_logarithmic_range_has_decades() -> None:
    decades = axis(FloatRange(low=1e-5, high=1e-1, log=True))
    assert decades.share({"x": 1e-3}) == pytest.approx(0.5)
    assert decades.value(0.5) == pytest.approx(1e-3)
    assert decades.layout()["ticktext"] == ["1e-05", "0.0001", "0.001", "0.01", "0.1"]
    assert axis(FloatRange(low=2e-4, high=6e-4, log=True)).layout()["tickvals"] == [2e-4, 3e-4, 4e-4, 5e-4, 6e-4]
    assert len(axis(FloatRange(low=1e-12, high=1.0, log=True)).layout()["tickvals"]) <= 8


def test_a_linear_range_has_its_ends_and_middle() -> None:
    assert axis(FloatRange(low=0.0, high=0.6)).marks() == [(0.0, "0"), (0.5, "0.3"), (1.0, "0.6")]
    assert [label for _, label in axis(IntRange(low=5, high=20)).marks()] == ["5", "12", "20"]


def test_a_choice_has_its_values_in_their_order() -> None:
    choice = axis(Choice(values=("none", None, True, 1, 0.5)))
    assert [label for _, label in choice.marks()] == ["none", "default", "yes", "1", "0.5"]
    assert [choice.position({"x": value}) for value in ("none", True, 1)] == [0, 2, 3]


def test_values_outside_the_space_widen_the_axis() -> None:
    assert axis(FloatRange(low=0.1, high=0.5), 0.9).high == 0.9
    assert axis(Choice(values=("a",)), "b").choices == ("a", "b")
    assert axis(IntRange(low=1, high=5), "many", 3).choices == ("many", 3)


def test_a_range_from_zero_has_no_logarithm() -> None:
    assert not axis(FloatRange(low=1e-3, high=1.0, log=True), 0.0).log


def test_where_a_setting_does_not_apply_there_is_no_position() -> None:
    assert not axis(FloatRange(low=0.0, high=1.0)).holds({})
    assert not axis(FloatRange(low=0.0, high=1.0)).holds({"x": float("nan")})
    assert axis(Choice(values=(None, 1))).holds({"x": None})


def test_a_single_value_is_in_the_middle_or_at_the_start() -> None:
    assert axis(Choice(values=("a",))).share({"x": "a"}) == 0
    assert axis(FloatRange(low=1.0, high=1.0)).share({"x": 1.0}) == 0.5


@pytest.mark.parametrize(
    ("value", "words"), [(None, "default"), (True, "yes"), (16, "16"), (1e-5, "1e-05"), ("sgd", "sgd")]
)
def test_values_as_text(value: Value, words: str) -> None:
    assert value_text(value) == words
