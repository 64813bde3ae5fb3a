"""Scalable targets: variants of endpoints whose numbers of instances may be changed, and between which bounds."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.endpoints.controller import ENDPOINT
from clearsight_sagemaker.endpoints.deployment import EndpointDocument, VariantDeployment
from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import Operation, ServiceState

TARGET = "scalable-target"
_DIMENSION, _NAMESPACE = "sagemaker:variant:DesiredInstanceCount", "sagemaker"
_RESOURCE = re.compile(r"endpoint/([a-zA-Z0-9-]+)/variant/([a-zA-Z0-9-]+)")
_PAGE = 50
_ROLE = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling"
_ROLE += "_SageMakerEndpoint"


def register_scalable_target(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Register a variant, or give it other bounds."""
    name = target_name(request)
    if scaled_variant(state, name) is None:
        raise validation_error(f"SageMaker variant does not exist: {name}")
    existing = state.table.get(TARGET, name)
    before = existing.document if existing is not None else {}
    document = {
        "low": request.get("MinCapacity", before.get("low")),
        "high": request.get("MaxCapacity", before.get("high")),
        "suspended": {**before.get("suspended", {}), **request.get("SuspendedState", {})},
        "role": request.get("RoleARN", before.get("role", f"arn:aws:iam::{state.account.account}:role/{_ROLE}")),
        "last": before.get("last", 0.0),
    }
    low, high = document["low"], document["high"]
    if low is None or high is None:
        raise validation_error("MinCapacity and MaxCapacity are required when a scalable target is registered.")
    if low < 1 or low > high:
        raise validation_error(f"MinCapacity {low} must be at least 1 and at most MaxCapacity ({high}).")
    try:
        state.table.add(Resource(kind=TARGET, name=name, status="", document=document, tags=request.get("Tags", {})))
    except ResourceExists:
        state.table.change(TARGET, name, lambda row: replace(row, document=document, modified=time.time()))
    return {"ScalableTargetARN": _arn(state, name)}


def describe_scalable_targets(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of targets."""
    names = request.get("ResourceIds")
    rows = (
        [row for row in state.table.every(TARGET) if names is None or row.name in names] if _is_variant(request) else []
    )
    page, token = page_of(rows, request)
    return {"ScalableTargets": [_description(state, row) for row in page], "NextToken": token}


def deregister_scalable_target(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Forget a target and its policies; the number of its instances stays."""
    name = target_name(request)
    if not state.table.remove(TARGET, name):
        raise no_target(name)
    for policy in state.table.every("scaling-policy"):
        if policy.document["resource"] == name:
            state.table.remove("scaling-policy", policy.name)
    return {}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("application-autoscaling", "RegisterScalableTarget"): register_scalable_target,
    ("application-autoscaling", "DescribeScalableTargets"): describe_scalable_targets,
    ("application-autoscaling", "DeregisterScalableTarget"): deregister_scalable_target,
}


def target_name(request: Mapping[str, Any]) -> str:
    """Return the ResourceId of a request; raises ServiceError for what is no number of instances of a variant."""
    if not _is_variant(request):
        found = f"{request['ServiceNamespace']} {request.get('ScalableDimension', '')}".strip()
        raise validation_error(f"The local service scales {_NAMESPACE} {_DIMENSION} alone, not {found}.")
    if _RESOURCE.fullmatch(request["ResourceId"]) is None:
        raise validation_error(f"ResourceId {request['ResourceId']!r} must be endpoint/NAME/variant/NAME.")
    return str(request["ResourceId"])


def scaled_variant(state: ServiceState, name: str) -> tuple[Resource, VariantDeployment] | None:
    """Return the row of the endpoint and the variant of a ResourceId; None where they do not serve."""
    found = _RESOURCE.fullmatch(name)
    row = state.table.get(ENDPOINT, found[1]) if found is not None else None
    if found is None or row is None:
        return None
    document = EndpointDocument.from_json(row.document)
    deployment = document.deployment(document.serving)
    variant = deployment.variant(found[2]) if deployment is not None else None
    return (row, variant) if variant is not None else None


def no_target(name: str) -> ServiceError:
    """Return the error for a variant that was not registered."""
    text = f"No scalable target registered for service namespace: {_NAMESPACE}, resource ID: {name}, scalable"
    return ServiceError("ObjectNotFoundException", f"{text} dimension: {_DIMENSION}")


def page_of(rows: list[Resource], request: Mapping[str, Any]) -> tuple[list[Resource], str | None]:
    """Return a page of rows and the token of the next one; raises ServiceError for a wrong token."""
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise ServiceError("InvalidNextTokenException", "The NextToken is not one that this service returned.")
    start, limit = int(token), request.get("MaxResults", _PAGE)
    end = start + limit
    return rows[start:end], str(end) if end < len(rows) else None


def common_members(name: str) -> dict[str, str]:
    """Return the members by which responses name a target."""
    return {"ServiceNamespace": _NAMESPACE, "ResourceId": name, "ScalableDimension": _DIMENSION}


def _is_variant(request: Mapping[str, Any]) -> bool:
    is_sagemaker: bool = request["ServiceNamespace"] == _NAMESPACE
    return is_sagemaker and request.get("ScalableDimension", _DIMENSION) == _DIMENSION


def _arn(state: ServiceState, name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:28]
    account = f"{state.account.region}:{state.account.account}"
    return f"arn:aws:application-autoscaling:{account}:scalable-target/0ec5{digest}"


def _description(state: ServiceState, row: Resource) -> dict[str, Any]:
    suspended = {
        name: bool(row.document["suspended"].get(name, False))
        for name in ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    }
    return {
        **common_members(row.name),
        "MinCapacity": row.document["low"],
        "MaxCapacity": row.document["high"],
        "RoleARN": row.document["role"],
        "CreationTime": row.created,
        "SuspendedState": suspended,
        "ScalableTargetARN": _arn(state, row.name),
    }
