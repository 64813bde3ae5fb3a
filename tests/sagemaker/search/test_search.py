"""Search: every operator, nested filters, expressions in each other, order, pages, and suggestions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight_sagemaker.search.expression import fits, searchable
from tests.sagemaker.local_service import LocalService

DOCUMENT = searchable(
    {
        "TrainingJobName": "dogs-1",
        "TrainingTimeInSeconds": 120,
        "EnableNetworkIsolation": False,
        "CreationTime": 1796083200.0,
        "HyperParameters": {"lr": "0.01", "model.name": "resnet18"},
        "FinalMetricDataList": [{"MetricName": "validation:accuracy", "Value": 0.9}],
        "InputDataConfig": [
            {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://dogs/train"}}},
            {"ChannelName": "valid", "DataSource": {"S3DataSource": {"S3Uri": "s3://cats/valid"}}},
        ],
        "Tags": [{"Key": "team.name", "Value": "vision"}],
    }
)


def entry(name: str, operator: str = "", value: str | None = None) -> dict[str, Any]:
    return {"Name": name} | ({"Operator": operator} if operator else {}) | ({} if value is None else {"Value": value})


@pytest.mark.parametrize(
    ("found", "name", "operator", "value"),
    [
        (True, "TrainingJobName", "", "dogs-1"),
        (False, "TrainingJobName", "Equals", "dogs"),
        (True, "TrainingJobName", "NotEquals", "cats-1"),
        (True, "TrainingJobName", "Contains", "ogs"),
        (True, "TrainingJobName", "In", "cats-1, dogs-1"),
        (False, "TrainingJobName", "GreaterThan", "3"),
        (True, "TrainingTimeInSeconds", "Equals", "120.0"),
        (True, "TrainingTimeInSeconds", "GreaterThanOrEqualTo", "120"),
        (False, "TrainingTimeInSeconds", "LessThan", "120"),
        (True, "EnableNetworkIsolation", "Equals", "false"),
        (True, "CreationTime", "GreaterThan", "2026-11-30T23:00:00Z"),
        (True, "CreationTime", "LessThan", "2026-12-02"),
        (True, "HyperParameters.lr", "LessThanOrEqualTo", "0.01"),
        (True, "HyperParameters.model.name", "Equals", "resnet18"),
        (True, "Metrics.validation:accuracy", "GreaterThan", "0.89"),
        (True, "Tags.team.name", "Equals", "vision"),
        (True, "InputDataConfig.DataSource.S3DataSource.S3Uri", "Contains", "cats"),
        (True, "HyperParameters.lr", "Exists", None),
        (False, "HyperParameters.lr", "NotExists", None),
        (True, "ModelArtifacts.S3ModelArtifacts", "NotExists", None),
    ],
)
def test_operators(found: bool, name: str, operator: str, value: str | None) -> None:
    assert fits(DOCUMENT, {"Filters": [entry(name, operator, value)]}) is found


def test_nested_filters_are_about_one_element() -> None:
    def nested(uri: str) -> dict[str, Any]:
        name = "InputDataConfig"
        filters = [
            entry(f"{name}.ChannelName", "Equals", "train"),
            entry(f"{name}.DataSource.S3DataSource.S3Uri", "Contains", uri),
        ]
        return {"NestedFilters": [{"NestedPropertyName": name, "Filters": filters}]}

    assert fits(DOCUMENT, nested("dogs"))
    assert not fits(DOCUMENT, nested("cats"))


@settings(derandomize=True)
@given(values=st.lists(st.booleans(), min_size=1, max_size=4), operator=st.sampled_from(["And", "Or"]))
def test_expressions_combine_as_booleans_do(values: list[bool], operator: str) -> None:
    parts = [{"Filters": [entry("TrainingJobName", "Exists" if value else "NotExists")]} for value in values]
    expected = any(values) if operator == "Or" else all(values)
    assert fits(DOCUMENT, {"SubExpressions": parts, "Operator": operator}) is expected


def names(result: dict[str, Any], member: str = "TrainingJob", name: str = "TrainingJobName") -> list[str]:
    return [record[member][name] for record in result["Results"]]


@pytest.fixture(scope="module")
def jobs(service: LocalService) -> None:
    service.call("CreateExperiment", ExperimentName="dogs")
    for number in range(3):
        service.create_job(
            f"dogs-{number}",
            HyperParameters={"lr": str(10**number)},
            ExperimentConfig={"ExperimentName": "dogs"},
            Tags=[{"Key": "round", "Value": str(number)}],
        )
        service.ended_job(f"dogs-{number}")


def test_jobs_are_found_sorted_and_paged(service: LocalService, jobs: None) -> None:
    expression = {"Filters": [entry("HyperParameters.lr", "GreaterThan", "1")]}
    arguments = {"Resource": "TrainingJob", "SearchExpression": expression, "SortBy": "HyperParameters.lr"}
    found = service.call("Search", **arguments, SortOrder="Ascending")
    assert names(found) == ["dogs-1", "dogs-2"]
    assert found["TotalHits"] == {"Value": 2, "Relation": "EqualTo"}
    first = service.call("Search", **arguments, MaxResults=1)
    assert names(first) == ["dogs-2"]
    assert names(service.call("Search", **arguments, MaxResults=1, NextToken=first["NextToken"])) == ["dogs-1"]
    by_metric = {"Filters": [entry("Metrics.loss", "LessThan", "1"), entry("Tags.round", "Equals", "0")]}
    assert names(service.call("Search", Resource="TrainingJob", SearchExpression=by_metric)) == ["dogs-0"]


def test_components_know_their_parents_and_their_job(service: LocalService, jobs: None) -> None:
    filters = [entry("Parents.ExperimentName", "Equals", "dogs"), entry("Metrics.loss.Count", "Equals", "3")]
    expression = {"Filters": [*filters, entry("SourceDetail.TrainingJob.HyperParameters.lr", "Equals", "10")]}
    found = service.call("Search", Resource="ExperimentTrialComponent", SearchExpression=expression)
    assert names(found, "TrialComponent", "TrialComponentName") == ["dogs-1-aws-training-job"]
    assert found["Results"][0]["TrialComponent"]["Parents"] == [
        {"TrialName": "dogs-1-aws-trial", "ExperimentName": "dogs"}
    ]
    expression = {"Filters": [entry("TrialComponentSummaries.TrialComponentName", "Contains", "dogs-2")]}
    trials = service.call("Search", Resource="ExperimentTrial", SearchExpression=expression)
    assert names(trials, "Trial", "TrialName") == ["dogs-2-aws-trial"]


def test_models_and_endpoints(service: LocalService) -> None:
    container = {"Image": "1/pytorch-inference:1.9-cpu-py38", "ModelDataUrl": service.put("s3://dogs/model.tar.gz")}
    role = "arn:aws:iam::111122223333:role/Trainer"
    service.call("CreateModel", ModelName="dogs", PrimaryContainer=container, ExecutionRoleArn=role)
    for name in ("ModelName", "Model.PrimaryContainer.ModelDataUrl"):
        expression = {"Filters": [entry(name, "Contains", "dogs")]}
        found = service.call("Search", Resource="Model", SearchExpression=expression)
        assert [record["Model"]["Model"]["ModelName"] for record in found["Results"]] == ["dogs"]
    assert service.call("Search", Resource="Endpoint")["Results"] == []


def test_suggestions_and_errors(service: LocalService, jobs: None) -> None:
    query = {"PropertyNameQuery": {"PropertyNameHint": "hyper"}}
    found = service.call("GetSearchSuggestions", Resource="TrainingJob", SuggestionQuery=query)
    assert found["PropertyNameSuggestions"] == [{"PropertyName": "HyperParameters.lr"}]
    assert "cannot search FeatureGroup" in service.error("Search", Resource="FeatureGroup")[1]
    expression: dict[str, Any] = {"Filters": [entry("TrainingJobName", "Exists")]}
    for depth, text in ((25, "more than 20 SubExpressions"), (400, "nested too deeply")):
        deep = expression
        for _ in range(depth):
            deep = {"SubExpressions": [deep]}
        assert text in service.error("Search", Resource="TrainingJob", SearchExpression=deep)[1]
    for filters, text in (([entry("TrainingJobName")], "needs a Value"), ([entry("a", "Exists", "b")], "takes no")):
        message = service.error("Search", Resource="TrainingJob", SearchExpression={"Filters": filters})[1]
        assert text in message
