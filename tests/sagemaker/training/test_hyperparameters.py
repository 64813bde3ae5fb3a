"""Hyperparameters reach a script as the training toolkit passes them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight_sagemaker.training.hyperparameters import Hyperparameters, decoded, variable

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_a_json_value_is_decoded_to_itself(value: object) -> None:
    assert decoded(json.dumps(value)) == value


@given(st.text())
def test_any_text_is_decoded_without_an_error(text: str) -> None:
    value = decoded(text)
    assert value == text or json.dumps(value) or math.isnan(value)


@given(JSON_VALUES)
def test_a_variable_holds_the_value(value: object) -> None:
    if value is not None and not isinstance(value, str):
        assert json.loads(variable(value)) == value


@given(st.dictionaries(st.from_regex(r"[a-z][a-z_-]{0,9}", fullmatch=True), JSON_VALUES, max_size=6))
def test_each_hyperparameter_is_a_name_and_a_value_in_order(values: dict[str, object]) -> None:
    user = {name: value for name, value in values.items() if not name.startswith("sagemaker_")}
    words = Hyperparameters.of({name: json.dumps(value) for name, value in values.items()}).arguments()
    assert [word.lstrip("-") for word in words[::2]] == sorted(user)
    assert all(isinstance(word, str) for word in words)


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("128", "128"),
        ('"128"', "128"),
        ('"resnet50"', "resnet50"),
        ("resnet50", "resnet50"),  # SDK v3's tuner sends texts without quotes
        ("true", "True"),
        ("null", ""),
        ("[1, 2]", "[1, 2]"),
        ('{"b": 1, "a": 2}', "a=2,b=1"),
        ("1e-3", "0.001"),
        ("[" * 2500, "[" * 2500),
        ("9" * 2500, "9" * 2500),
    ],
)
def test_a_value_as_an_argument(text: str, argument: str) -> None:
    assert Hyperparameters.of({"value": text}).arguments() == ["--value", argument]


def test_one_letter_has_one_dash_and_names_of_the_toolkit_are_left_out() -> None:
    values = Hyperparameters.of(
        {"b": "1", "batch-size": "2", "sagemaker_program": '"a.py"', "_tuning_objective_metric": "x"}
    )
    assert values.arguments() == ["-b", "1", "--batch-size", "2"]
    assert values.framework == {"sagemaker_program": "a.py", "_tuning_objective_metric": "x"}


def test_a_variable_is_compact_json() -> None:
    assert [variable(value) for value in (None, "a b", [1, "x"], {"b": 1, "a": None}, True)] == [
        *("", "a b", '[1,"x"]', '{"a":null,"b":1}', "true")
    ]
