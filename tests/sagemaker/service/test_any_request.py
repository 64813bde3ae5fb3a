"""Any request gets a result or an error that a client can read, never an exception of the service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight_sagemaker.protocols.service_models import SERVICES, service_model
from clearsight_sagemaker.service.operations import OPERATIONS
from tests.sagemaker.local_service import LocalService

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=5,
)
WORDS = st.sampled_from(
    ["a", "clearsight", "2020-01-01", "f/1", "b/99999", "{}", "0", "ÿ", "/aws/sagemaker/TrainingJobs"]
)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": WORDS | st.text(max_size=6),
    "integer": st.integers(-1, 100),
    "long": st.integers(-1, 2000),
    "float": st.floats(-9, 9),
    "double": st.floats(-9, 9),
    "boolean": st.booleans(),
    "timestamp": st.floats(0, 2e9) | WORDS,
    "blob": st.text("abcd", max_size=4),
}
TARGETS = {service.name: service.target for service in SERVICES}


def values(shape: Any, depth: int = 3) -> st.SearchStrategy[Any]:
    """Return values of a shape, and sometimes of none."""
    if depth == 0:
        return JSON
    if shape.type_name == "structure":
        members = {name: values(member, depth - 1) for name, member in shape.members.items()}
        required = {name: members.pop(name) for name in shape.required_members}
        chosen = st.fixed_dictionaries(required, optional=dict(list(members.items())[:8]))
    elif shape.type_name == "list":
        chosen = st.lists(values(shape.member, depth - 1), max_size=2)
    elif shape.type_name == "map":
        chosen = st.dictionaries(st.text(max_size=6), values(shape.value, depth - 1), max_size=2)
    elif getattr(shape, "enum", None):
        chosen = st.sampled_from(shape.enum)
    else:
        chosen = SCALARS[shape.type_name]
    return st.one_of(chosen, chosen, chosen, JSON)


@pytest.mark.parametrize(("service_name", "operation"), [name for name in OPERATIONS if TARGETS[name[0]]])
def test_any_parameters(service: LocalService, service_name: str, operation: str) -> None:
    shape = service_model(service_name).operation_model(operation).input_shape

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
    @given(values(shape))
    def check(parameters: Any) -> None:
        headers = {"X-Amz-Target": f"{TARGETS[service_name]}.{operation}"}
        response = service.client.post("/", content=json.dumps(parameters), headers=headers)
        assert response.status_code in (200, 400), response.text
        assert response.status_code == 200 or response.json()["__type"]

    check()


ACTIONS = ["GetCallerIdentity", "AssumeRole", "GetRole", "CreateRole", "Publish", "Subscribe", "ListMetrics", "x"]
FIELDS = ["RoleName", "RoleArn", "TopicArn", "Attributes.entry.1.key", "Dimensions.member.1.Name", "NextToken"]
VERSIONS = [service.version for service in SERVICES if service.version] + ["1"]
PARTS = ["/", "dogs", "endpoints", "..", "%00", "%ff", "?", "delete", "uploadId=1", "&", "acl"]
METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"]
AUTHORIZATIONS = ["", "AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request", "AWS a:b", "Bearer x"]


@settings(max_examples=100)
@given(
    st.sampled_from(ACTIONS),
    st.sampled_from(VERSIONS),
    st.dictionaries(st.sampled_from(FIELDS), WORDS | st.text(max_size=5)),
)
def test_any_form(service: LocalService, action: str, version: str, fields: dict[str, str]) -> None:
    response = service.query(action, version, **fields)
    assert response.status_code in (200, 400, 404, 409)
    assert response.text.startswith("<")


@settings(max_examples=100)
@given(
    st.sampled_from(METHODS),
    st.lists(st.sampled_from(PARTS), max_size=6),
    st.sampled_from(AUTHORIZATIONS),
    st.binary(max_size=20),
)
def test_any_path(service: LocalService, method: str, parts: list[str], authorization: str, body: bytes) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    response = service.client.request(method, "http://testserver/" + "".join(parts), content=body, headers=headers)
    assert response.status_code < 500 or response.status_code == 501  # an operation that S3 has, and this service not
