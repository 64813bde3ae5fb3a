"""STS, IAM, CloudWatch metrics and SNS: in JSON and in the query protocol."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.parsers import create_parser

from clearsight_sagemaker.protocols.service_models import SERVICES, service_model
from tests.sagemaker.local_service import LocalService

TRAINING = "/aws/sagemaker/TrainingJobs"


def ask(service: LocalService, name: str, action: str, **fields: str) -> dict[str, Any]:
    """Return the result of a query as botocore reads it."""
    version = next(known.version for known in SERVICES if known.name == name)
    response = service.query(action, version, **fields)
    assert response.status_code == 200, response.text
    shape = service_model(name).operation_model(action).output_shape
    return create_parser("query").parse({"body": response.content, "headers": {}, "status_code": 200}, shape)


def refused(service: LocalService, name: str, action: str, **fields: str) -> tuple[int, str, str]:
    version = next(known.version for known in SERVICES if known.name == name)
    response = service.query(action, version, **fields)
    error = ElementTree.fromstring(response.text).find("Error")
    assert error is not None
    return response.status_code, error.findtext("Code") or "", error.findtext("Message") or ""


# Identities and roles


def test_the_caller_has_assumed_the_role(service: LocalService) -> None:
    identity = ask(service, "sts", "GetCallerIdentity")
    assert identity["Account"] == "000000000000"
    assert identity["Arn"] == "arn:aws:sts::000000000000:assumed-role/clearsight/local"
    assert "AmazonSageMaker-ExecutionRole" not in identity["Arn"], "a published notebook branches on this name"


def test_the_role_of_the_caller_is_there(service: LocalService) -> None:
    role = ask(service, "iam", "GetRole", RoleName="clearsight")["Role"]
    assert role["Arn"] == "arn:aws:iam::000000000000:role/clearsight"


def test_a_role_that_is_not_there(service: LocalService) -> None:
    assert refused(service, "iam", "GetRole", RoleName="other") == (
        404,
        "NoSuchEntity",
        "The role with name other cannot be found.",
    )


def test_a_role_is_created_with_policies(service: LocalService) -> None:
    fields = {"RoleName": "Trainer", "AssumeRolePolicyDocument": "{}", "Path": "/service-role/"}
    assert ask(service, "iam", "CreateRole", **fields)["Role"]["Arn"].endswith(":role/service-role/Trainer")
    assert refused(service, "iam", "CreateRole", **fields)[1] == "EntityAlreadyExists"
    policy = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
    for role in ("Trainer", "clearsight"):
        ask(service, "iam", "AttachRolePolicy", RoleName=role, PolicyArn=policy)
        [attached] = ask(service, "iam", "ListAttachedRolePolicies", RoleName=role)["AttachedPolicies"]
        assert attached == {"PolicyName": "AmazonSageMakerFullAccess", "PolicyArn": policy}
    names = [role["RoleName"] for role in ask(service, "iam", "ListRoles")["Roles"]]
    assert sorted(names) == ["Trainer", "clearsight"]


def test_every_action_is_allowed(service: LocalService) -> None:
    fields = {"PolicySourceArn": "arn:aws:iam::000000000000:role/clearsight", "ActionNames.member.1": "s3:PutObject"}
    [result] = ask(service, "iam", "SimulatePrincipalPolicy", **fields)["EvaluationResults"]
    assert (result["EvalActionName"], result["EvalDecision"]) == ("s3:PutObject", "allowed")


def test_a_wrong_parameter_of_a_form(service: LocalService) -> None:
    status, code, message = refused(service, "iam", "GetRole", RoleName="a b")
    assert (status, code) == (400, "ValidationException")
    assert "Value 'a b' at 'roleName' failed to satisfy constraint" in message


def test_an_operation_that_is_not_there(service: LocalService) -> None:
    assert refused(service, "iam", "CreateUser", UserName="me")[1:] == (
        "UnknownOperationException",
        "CreateUser is an operation of IAM that the local service does not have.",
    )


# Metrics


def test_metrics_of_a_training_job(service: LocalService) -> None:
    service.create_job("measured")
    found = service.ended_job("measured")
    dimensions = [{"Name": "TrainingJobName", "Value": "measured"}]
    listed = service.call("ListMetrics", "cloudwatch", Namespace=TRAINING, Dimensions=dimensions)
    assert [metric["MetricName"] for metric in listed["Metrics"]] == ["loss"]
    result = service.call(
        "GetMetricStatistics",
        "cloudwatch",
        Namespace=TRAINING,
        MetricName="loss",
        Dimensions=dimensions,
        StartTime=found["TrainingStartTime"] - 60,
        EndTime=found["TrainingEndTime"] + 60,
        Period=86_400,
        Statistics=["Average", "Maximum", "SampleCount"],
    )
    [point] = result["Datapoints"]
    assert point["Average"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert (point["Maximum"], point["SampleCount"]) == (1.0, 3)


def test_metrics_that_clients_put(service: LocalService) -> None:
    data = [
        {"MetricName": "speed", "Value": 2.0, "Timestamp": 100},
        {"MetricName": "speed", "Values": [4.0, 6.0], "Counts": [1, 2], "Timestamp": 130},
        {
            "MetricName": "speed",
            "StatisticValues": {"SampleCount": 2, "Sum": 3, "Minimum": 1, "Maximum": 2},
            "Timestamp": 190,
        },
    ]
    service.call("PutMetricData", "cloudwatch", Namespace="mine", MetricData=data)
    fields = {"Namespace": "mine", "MetricName": "speed", "Period": 60, "Statistics": ["Sum", "Minimum"]}
    points = service.call("GetMetricStatistics", "cloudwatch", **fields, StartTime=0, EndTime=1000)["Datapoints"]
    assert points == [
        {"Timestamp": 60, "Unit": "None", "Sum": 2.0, "Minimum": 2.0},
        {"Timestamp": 120, "Unit": "None", "Sum": 16.0, "Minimum": 4.0},
        {"Timestamp": 180, "Unit": "None", "Sum": 3, "Minimum": 1},
    ]
    later = service.call("GetMetricStatistics", "cloudwatch", **fields, StartTime=101.5, EndTime=130)["Datapoints"]
    assert later == points[:1], "the start of the range is rounded down to a whole minute"
    code, message = service.error("GetMetricStatistics", "cloudwatch", **fields, StartTime=0, EndTime=1_000_000)
    assert (code, "datapoints" in message) == ("InvalidParameterCombination", True)


def test_older_clients_of_cloudwatch_send_forms(service: LocalService) -> None:
    metric = {"MetricData.member.1.MetricName": "size", "MetricData.member.1.Value": "3"}
    ask(service, "cloudwatch", "PutMetricData", Namespace="old", **metric)
    [listed] = ask(service, "cloudwatch", "ListMetrics", Namespace="old")["Metrics"]
    assert listed["MetricName"] == "size"


# Notifications


def test_a_message_is_written_down_and_not_sent(service: LocalService) -> None:
    topic = ask(service, "sns", "CreateTopic", Name="SMDebugRules")["TopicArn"]
    assert ask(service, "sns", "CreateTopic", Name="SMDebugRules")["TopicArn"] == topic
    fields = {"TopicArn": topic, "Protocol": "email", "Endpoint": "me@example.com"}
    subscription = ask(service, "sns", "Subscribe", **fields)["SubscriptionArn"]
    assert ask(service, "sns", "Subscribe", **fields)["SubscriptionArn"] == subscription
    [listed] = ask(service, "sns", "ListSubscriptions")["Subscriptions"]
    assert listed["Endpoint"] == "me@example.com"
    ask(service, "sns", "Publish", TopicArn=topic, Subject="SMDebugRule:Overfit fired", Message="x")
    [line] = service.state.home.notifications.read_text().splitlines()
    written = json.loads(line)
    assert (written["subject"], written["receivers"]) == ("SMDebugRule:Overfit fired", ["me@example.com"])
    assert refused(service, "sns", "Publish", TopicArn=f"{topic}x", Message="x")[:2] == (404, "NotFound")
