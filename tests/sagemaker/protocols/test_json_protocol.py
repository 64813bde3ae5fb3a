"""JSON protocol: bodies that are no objects are refused, results hold nothing that clients cannot read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.protocols.json_protocol import json_response, plain_result, read_parameters, seconds_of
from clearsight_sagemaker.protocols.service_models import service_model

SHAPE = service_model("sagemaker").operation_model("DescribeTrainingJob").output_shape
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"x"', b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(ServiceError) as refused:
        read_parameters(body)
    assert refused.value.code == "SerializationException"


def test_null_is_absent() -> None:
    assert read_parameters(b'{"NextToken": null, "MaxResults": 1}') == {"MaxResults": 1}
    assert read_parameters(b"") == {}


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_a_result_is_json_without_null(result: dict[str, Any]) -> None:
    text = json_response(result, SHAPE, "1.1").body
    assert not has_null(json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")))


def has_null(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(has_null, inner))


def test_an_empty_structure_with_required_members_is_left_out() -> None:
    result = {"TrainingJobName": "dogs", "VpcConfig": {}, "ExperimentConfig": {}, "FailureReason": None}
    assert plain_result(result, SHAPE) == {"TrainingJobName": "dogs", "ExperimentConfig": {}}


def test_maps_are_in_the_order_of_their_keys() -> None:
    parameters = {"lr": "0.1", "batch-size": "32", "_tuning_objective_metric": "loss"}
    found = plain_result({"TrainingJobName": "dogs", "HyperParameters": parameters}, SHAPE)
    assert list(found) == ["TrainingJobName", "HyperParameters"], "members of a structure keep their places"
    assert list(found["HyperParameters"]) == ["_tuning_objective_metric", "batch-size", "lr"]


def test_an_operation_without_a_result_has_no_body() -> None:
    assert json_response(None, None, "1.1").body == b""


def test_times() -> None:
    assert seconds_of({"At": 3.5}, "At") == 3.5
    assert seconds_of({"At": "1970-01-01T00:01:00Z"}, "At") == 60
    assert seconds_of({}, "At") is None
    with pytest.raises(ServiceError, match="'soon' is not a time"):
        seconds_of({"At": "soon"}, "At")
