"""Validation: the texts of AWS for lengths, patterns, enums and ranges; members of newer clients pass."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from clearsight.core.errors import MissingExtra
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.protocols.service_models import service_model
from clearsight_sagemaker.protocols.validation import check_request
from tests.sagemaker.local_service import job_request


def shape(operation: str, service: str = "sagemaker") -> Any:
    return service_model(service).operation_model(operation).input_shape


def message(operation: str, parameters: dict[str, Any]) -> str:
    with pytest.raises(ServiceError) as refused:
        check_request(parameters, shape(operation))
    assert refused.value.status == 400
    return refused.value.message


def test_a_usual_request_is_valid() -> None:
    check_request(job_request("dogs-2026-11-20"), shape("CreateTrainingJob"))


def test_members_of_a_newer_client_are_valid() -> None:
    check_request({"TrainingJobName": "dogs", "Colour": {"Of": "tomorrow"}}, shape("DescribeTrainingJob"))


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        ("a" * 64, "Member must have length less than or equal to 63"),
        ("", "Member must have length greater than or equal to 1"),
        ("-dogs", "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"),
        ("dogs\n", "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"),
    ],
)
def test_a_wrong_name(name: str, constraint: str) -> None:
    text = message("DescribeTrainingJob", {"TrainingJobName": name})
    assert f"Value '{name}' at 'trainingJobName' failed to satisfy constraint: {constraint}" in text
    assert "validation error" in text


def test_a_missing_member() -> None:
    expected = "Value null at 'trainingJobName' failed to satisfy constraint: Member must not be null"
    assert message("DescribeTrainingJob", {}) == f"1 validation error detected: {expected}"


def test_several_errors_are_counted() -> None:
    text = message("ListTrainingJobs", {"MaxResults": 101, "SortBy": "Colour"})
    assert text == (
        "2 validation errors detected: Value '101' at 'maxResults' failed to satisfy constraint: Member must have value"
        " less than or equal to 100; Value 'Colour' at 'sortBy' failed to satisfy constraint: Member must satisfy enum"
        " value set: [Name, CreationTime, Status]"
    )


def test_a_member_of_a_list_has_its_number() -> None:
    channels = [{"ChannelName": name, "DataSource": {}} for name in ("train", "va lid")]
    text = message("CreateTrainingJob", job_request("dogs", InputDataConfig=channels))
    assert "Value 'va lid' at 'inputDataConfig.2.member.channelName' failed" in text


@pytest.mark.parametrize("value", [1, ["dogs"], {"a": 1}])
def test_a_wrong_type(value: Any) -> None:
    with pytest.raises(ServiceError) as refused:
        check_request({"TrainingJobName": value}, shape("DescribeTrainingJob"))
    assert refused.value.code == "SerializationException"


def test_tags_may_have_letters_of_every_language() -> None:
    arn = "arn:aws:sagemaker:us-east-1:000000000000:training-job/dogs"
    check_request({"ResourceArn": arn, "Tags": [{"Key": "größe", "Value": "大きい 1"}]}, shape("AddTags"))
    tags = [{"Key": "a;b", "Value": ""}]
    assert "at 'tags.1.member.key' failed" in message("AddTags", {"ResourceArn": arn, "Tags": tags})


def test_a_long_value_is_refused_at_once() -> None:
    """A pattern that backtracks is not tried on what is too long anyway."""
    assert "length less than" in message("DescribeTrainingJob", {"TrainingJobName": "a-" * 100_000 + "!"})


def test_without_botocore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.loaders", None)
    with pytest.raises(MissingExtra, match=r"needs the package botocore. Install it with: pip install"):
        service_model("states")


@pytest.mark.parametrize(
    "parameters",
    [{"CreationTimeAfter": False}, {"MaxResults": True}],
    ids=["time", "number"],
)
def test_a_boolean_is_no_number(parameters: dict[str, Any]) -> None:
    [name] = parameters
    assert message("ListTrainingJobs", parameters) == (
        f"The value at '{name[0].lower()}{name[1:]}' must be a number, and is a boolean."
    )
