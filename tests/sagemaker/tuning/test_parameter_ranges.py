"""Ranges of hyperparameters: every searched value becomes a text within the range, and back."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.space import Choice, FloatRange, IntRange
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.tuning.parameter_ranges import TunedParameter, complete_ranges, tuned_parameters
from tests.sagemaker.tuning.tuning_requests import continuous

SHARE = st.floats(0, 1)
POSITIVE = st.floats(1e-9, 1e9)
KIND = {"integer": "IntegerParameterRanges", "continuous": "ContinuousParameterRanges"}


def parameter(kind: str, low: float | str, high: float | str, scaling: str) -> TunedParameter:
    [found] = tuned_parameters({KIND[kind]: [continuous("x", low, high, scaling)]})  # type: ignore[arg-type]
    return found


def at(found: TunedParameter, share: float) -> float:
    """Return the searched value at a share of what is searched."""
    domain = found.search_domain
    assert isinstance(domain, FloatRange | IntRange)
    if domain.log:
        value = math.exp(math.log(domain.low) + share * (math.log(domain.high) - math.log(domain.low)))
    else:
        value = domain.low + share * (domain.high - domain.low)
    return round(value) if isinstance(domain, IntRange) else value


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), SHARE)
def test_linear_values_are_in_their_range(low: float, width: float, share: float) -> None:
    found = parameter("continuous", repr(low), repr(low + width), "Linear")
    text = found.text(at(found, share))
    assert low <= float(text) <= low + width
    assert found.text(found.searched(text)) == text, "the search knows the same value again"


@given(POSITIVE, POSITIVE, SHARE)
def test_logarithmic_values_are_in_their_range_by_orders_of_magnitude(one: float, other: float, share: float) -> None:
    low, high = sorted((one, other))
    found = parameter("continuous", repr(low), repr(high), "Logarithmic")
    text = found.text(at(found, share))
    assert low <= float(text) <= high
    assert found.text(found.searched(text)) == text
    assert float(found.text(at(found, 0.5))) == pytest.approx(math.sqrt(low * high), rel=1e-6)


@given(st.floats(0, 0.999999), st.floats(0, 0.999999), SHARE)
def test_reverse_logarithmic_values_are_dense_near_1(one: float, other: float, share: float) -> None:
    low, high = sorted((one, other))
    found = parameter("continuous", repr(low), repr(high), "ReverseLogarithmic")
    value = float(found.text(at(found, share)))
    assert low <= value <= high
    assert float(found.text(found.searched(repr(value)))) == pytest.approx(value, abs=1e-12)
    middle = float(found.text(at(found, 0.5)))
    assert 1 - middle == pytest.approx(math.sqrt((1 - low) * (1 - high)), rel=1e-6)


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40), SHARE)
def test_integers_are_digits(low: int, width: int, share: float) -> None:
    found = parameter("integer", str(low), str(low + width), "Linear")
    text = found.text(at(found, share))
    assert str(int(text)) == text
    assert low <= int(text) <= low + width
    assert found.searched(text) == int(text)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=30))
def test_categories_are_what_was_listed(values: list[str]) -> None:
    [found] = tuned_parameters({"CategoricalParameterRanges": [{"Name": "x", "Values": values}]})
    assert isinstance(found.domain, Choice)
    assert {*found.domain.values} == {*values}
    assert [found.text(found.searched(value)) for value in values] == values


def test_values_have_full_double_precision() -> None:
    found = parameter("continuous", "0.001", "0.1", "Auto")
    assert found.text(0.0032272529904668217) == "0.0032272529904668217"


@pytest.mark.parametrize(
    ("kind", "low", "high", "is_logarithmic"),
    [
        ("continuous", "0.001", "0.1", True),
        ("continuous", "0.01", "0.5", False),
        ("continuous", "0", "1000", False),
        ("integer", "1", "100", True),
        ("integer", "5", "10", False),
    ],
)
def test_auto_goes_by_orders_of_magnitude_from_a_hundredfold_range_on(
    kind: str, low: str, high: str, is_logarithmic: bool
) -> None:
    domain = parameter(kind, low, high, "Auto").search_domain
    assert isinstance(domain, FloatRange | IntRange)
    assert domain.log is is_logarithmic


@pytest.mark.parametrize(
    ("kind", "low", "high", "scaling", "text"),
    [
        ("continuous", "0", "1", "Logarithmic", "Logarithmic scaling needs values above 0"),
        ("continuous", "0.5", "1", "ReverseLogarithmic", "needs a range within 0 <= x < 1"),
        ("integer", "1", "5", "ReverseLogarithmic", "for continuous ranges alone"),
        ("integer", "0", "5", "Logarithmic", "Logarithmic scaling needs values above 0"),
        ("continuous", "2", "1", "Linear", "MinValue 2 is above MaxValue 1"),
        ("integer", "1.5", "2", "Auto", "MinValue '1.5' is not an integer"),
        ("continuous", "one", "2", "Auto", "MinValue 'one' is not a number"),
        ("continuous", "nan", "2", "Auto", "MinValue 'nan' is not finite"),
        ("continuous", "-1e308", "1e308", "Auto", "MaxValue - MinValue is not finite"),
        ("integer", "0", "99999999999999999999", "Auto", "integers must be within"),
    ],
)
def test_a_range_without_values(kind: str, low: str, high: str, scaling: str, text: str) -> None:
    with pytest.raises(ServiceError, match="The range of the hyperparameter 'x' is not valid") as error:
        parameter(kind, low, high, scaling)
    assert text in error.value.message


def test_a_name_has_one_range() -> None:
    ranges: dict[str, Any] = {kind: [continuous("x", 1, 2)] for kind in KIND.values()}
    with pytest.raises(ServiceError, match="'x' has two ranges"):
        tuned_parameters(ranges)


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=5)).map(str))
def test_every_hint_gives_a_range_or_a_fixed_value(hint: str) -> None:
    ranges, fixed = complete_ranges({"AutoParameters": [{"Name": "x", "ValueHint": hint}]})
    names = [each.name for each in tuned_parameters(ranges)]
    assert (names, fixed) in ((["x"], {}), ([], {"x": hint}))


def test_hints_give_ranges_around_them() -> None:
    hints = {"lr": "0.01", "epochs": "10", "model": '"resnet18"', "sagemaker_container_log_level": "20"}
    ranges, fixed = complete_ranges(
        {"AutoParameters": [{"Name": name, "ValueHint": hint} for name, hint in hints.items()]}
    )
    assert ranges["ContinuousParameterRanges"] == [
        {"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
    ]
    assert ranges["IntegerParameterRanges"] == [
        {"Name": "epochs", "MinValue": "5", "MaxValue": "20", "ScalingType": "Logarithmic"}
    ]
    assert ranges["CategoricalParameterRanges"] == []
    assert fixed == {"model": '"resnet18"', "sagemaker_container_log_level": "20"}
