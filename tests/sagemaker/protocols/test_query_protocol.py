"""Query protocol: what botocore writes is read, and botocore reads what is written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.protocols.query_protocol import query_response, read_form, read_parameters
from clearsight_sagemaker.protocols.service_models import service_model

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
NUMBER = st.floats(-1e9, 1e9)
DATA = st.lists(
    st.fixed_dictionaries(
        {"MetricName": TEXT},
        optional={
            "Value": NUMBER,
            "Values": st.lists(NUMBER, min_size=1, max_size=3),
            "Dimensions": st.lists(st.fixed_dictionaries({"Name": TEXT, "Value": TEXT}), min_size=1, max_size=3),
            "StorageResolution": st.integers(1, 60),
        },
    ),
    min_size=1,
    max_size=3,
)


def sent(service: str, operation: str, parameters: dict[str, Any]) -> bytes:
    """Return the body that botocore sends."""
    model = service_model(service).operation_model(operation)
    fields = create_serializer("query").serialize_to_request(parameters, model)["body"]
    return urlencode(fields).encode()


@given(TEXT, DATA)
def test_parameters_survive_the_form(namespace: str, data: list[dict[str, Any]]) -> None:
    parameters = {"Namespace": namespace, "MetricData": data}
    form = read_form(sent("cloudwatch", "PutMetricData", parameters))
    assert form["Action"] == "PutMetricData"
    shape = service_model("cloudwatch").operation_model("PutMetricData").input_shape
    assert read_parameters(form, shape) == parameters


@given(
    st.dictionaries(TEXT, TEXT, min_size=1, max_size=3),
    st.sampled_from(["FilterPolicy"]),
)
def test_maps_survive_the_form(attributes: dict[str, str], extra: str) -> None:
    parameters = {"TopicArn": "arn:x", "Protocol": "email", "Attributes": {**attributes, extra: "{}"}}
    shape = service_model("sns").operation_model("Subscribe").input_shape
    assert read_parameters(read_form(sent("sns", "Subscribe", parameters)), shape) == parameters


@given(st.lists(st.fixed_dictionaries({"Name": TEXT, "Value": TEXT}), max_size=3), TEXT)
def test_botocore_reads_the_result(dimensions: list[dict[str, str]], name: str) -> None:
    result = {"Metrics": [{"Namespace": "n", "MetricName": name, "Dimensions": dimensions}]}
    model = service_model("cloudwatch").operation_model("ListMetrics")
    response = query_response(result, model, "http://x/", "id-1")
    parsed = create_parser("query").parse(
        {"body": response.body, "headers": {}, "status_code": 200}, model.output_shape
    )
    assert parsed["Metrics"] == result["Metrics"]
    assert parsed["ResponseMetadata"]["RequestId"] == "id-1"


def test_times_and_switches() -> None:
    moment = datetime(2026, 11, 20, 23, 35, 40, 422000, tzinfo=UTC)
    model = service_model("iam").operation_model("CreatePolicy")
    result = {"Policy": {"PolicyName": "p", "IsAttachable": True, "CreateDate": moment.timestamp()}}
    response = query_response(result, model, "http://x/", "id-1")
    parsed = create_parser("query").parse(
        {"body": response.body, "headers": {}, "status_code": 200}, model.output_shape
    )
    assert parsed["Policy"] == {"PolicyName": "p", "IsAttachable": True, "CreateDate": moment}


@pytest.mark.parametrize("body", [b"\xff", b"&".join(b"a=1" for _ in range(20_000))])
def test_a_form_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(ServiceError, match="not a form"):
        read_form(body)


@pytest.mark.parametrize("field", ["Period=ten", "StartTime=yesterday"])
def test_a_value_of_another_type(field: str) -> None:
    shape = service_model("cloudwatch").operation_model("GetMetricStatistics").input_shape
    with pytest.raises(ServiceError, match=field.replace("=", ": '")):
        read_parameters(read_form(field.encode()), shape)
