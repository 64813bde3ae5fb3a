"""Scaling policies of scalable targets, and the activities that have followed from them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.scaling.scalable_targets import TARGET, common_members, no_target, page_of, target_name
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import Operation, ServiceState

POLICY, ACTIVITY = "scaling-policy", "scaling-activity"
INVOCATIONS = "SageMakerVariantInvocationsPerInstance"
_TRACKING = "TargetTrackingScaling"


def put_scaling_policy(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a policy of a target, or replace it."""
    target = target_name(request)
    if state.table.get(TARGET, target) is None:
        raise no_target(target)
    kind = request.get("PolicyType", _TRACKING if f"{_TRACKING}PolicyConfiguration" in request else "StepScaling")
    if kind != _TRACKING or f"{_TRACKING}PolicyConfiguration" not in request:
        raise validation_error(f"The local service has policies of the type {_TRACKING} alone, not {kind}.")
    config = request[f"{_TRACKING}PolicyConfiguration"]
    if ("PredefinedMetricSpecification" in config) == ("CustomizedMetricSpecification" in config):
        raise validation_error("Give either PredefinedMetricSpecification or CustomizedMetricSpecification.")
    if config["TargetValue"] <= 0:
        raise validation_error(f"TargetValue {config['TargetValue']} must be above 0.")
    name = _row_name(target, request["PolicyName"])
    existing = state.table.get(POLICY, name)
    account = f"{state.account.region}:{state.account.account}"
    arn = f"arn:aws:autoscaling:{account}:scalingPolicy:{uuid.uuid4()}:resource/sagemaker/{target}:policyName/"
    document = {
        "resource": target,
        "name": request["PolicyName"],
        "arn": existing.document["arn"] if existing is not None else arn + request["PolicyName"],
        "config": config,
    }
    try:
        state.table.add(Resource(kind=POLICY, name=name, status="", document=document))
    except ResourceExists:
        state.table.change(POLICY, name, lambda row: replace(row, document=document, modified=time.time()))
    return {"PolicyARN": document["arn"], "Alarms": []}


def describe_scaling_policies(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of policies."""
    names, resource = request.get("PolicyNames"), request.get("ResourceId")
    rows = [
        row
        for row in state.table.every(POLICY)
        if (names is None or row.document["name"] in names) and resource in (None, row.document["resource"])
    ]
    page, token = page_of(rows if request["ServiceNamespace"] == "sagemaker" else [], request)
    return {"ScalingPolicies": [_description(row) for row in page], "NextToken": token}


def delete_scaling_policy(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a policy."""
    target = target_name(request)
    if not state.table.remove(POLICY, _row_name(target, request["PolicyName"])):
        text = f"No scaling policy found for service namespace: sagemaker, resource ID: {target}, scalable dimension:"
        raise ServiceError("ObjectNotFoundException", f"{text} {request.get('ScalableDimension')}")
    return {}


def describe_scaling_activities(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of the changes that policies have made, the newest first."""
    resource = request.get("ResourceId")
    rows = [row for row in state.table.every(ACTIVITY) if resource in (None, row.document["resource"])]
    page, token = page_of(rows[::-1] if request["ServiceNamespace"] == "sagemaker" else [], request)
    activities = [
        {
            **common_members(row.document["resource"]),
            "ActivityId": row.name,
            "Description": row.document["description"],
            "Cause": row.document["cause"],
            "StartTime": row.created,
            "EndTime": row.created,
            "StatusCode": "Successful",
            "StatusMessage": row.document["message"],
        }
        for row in page
    ]
    return {"ScalingActivities": activities, "NextToken": token}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("application-autoscaling", "PutScalingPolicy"): put_scaling_policy,
    ("application-autoscaling", "DescribeScalingPolicies"): describe_scaling_policies,
    ("application-autoscaling", "DeleteScalingPolicy"): delete_scaling_policy,
    ("application-autoscaling", "DescribeScalingActivities"): describe_scaling_activities,
}


def _row_name(target: str, policy: str) -> str:
    return f"{target}/{policy}"


def _description(row: Resource) -> dict[str, Any]:
    return {
        **common_members(row.document["resource"]),
        "PolicyARN": row.document["arn"],
        "PolicyName": row.document["name"],
        "PolicyType": _TRACKING,
        f"{_TRACKING}PolicyConfiguration": row.document["config"],
        "Alarms": [],
        "CreationTime": row.created,
    }
