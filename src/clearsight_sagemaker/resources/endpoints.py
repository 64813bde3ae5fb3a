"""Endpoints: create, describe, list, update, delete. Rows alone are changed here; the controller follows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.endpoints.controller import CHANGING, ENDPOINT
from clearsight_sagemaker.endpoints.deployment import Deployment, EndpointDocument, VariantDeployment, instances
from clearsight_sagemaker.hosting.server_status import ServerStatus
from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.resources.endpoint_configs import deployment_of, find_endpoint_config
from clearsight_sagemaker.resources.listing import listed
from clearsight_sagemaker.resources.tags import tag_map
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import Operation, ServiceState

_MOST_ENDPOINTS = 100
_RETAINED = {"DesiredInstanceCount": "count", "DesiredWeight": "weight"}


def create_endpoint(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store an endpoint; its model servers are started next."""
    name, arn = request["EndpointName"], state.account.arn(ENDPOINT, request["EndpointName"])
    deployment = deployment_of(state, find_endpoint_config(state, request["EndpointConfigName"]), 1)
    if (count := len(state.table.every(ENDPOINT))) >= _MOST_ENDPOINTS:
        raise ServiceError("ResourceLimitExceeded", f"The service has {count} endpoints. Delete some of them.")
    document = EndpointDocument(arn=arn, deployments=(deployment,)).to_json()
    tags = tag_map(request.get("Tags", []))
    try:
        state.table.add(Resource(kind=ENDPOINT, name=name, status="Creating", document=document, tags=tags))
    except ResourceExists:
        raise validation_error(f'Cannot create already existing endpoint "{arn}".') from None
    state.endpoints.wake()
    return {"EndpointArn": arn}


def describe_endpoint(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about an endpoint."""
    row = find_endpoint(state, request["EndpointName"])
    document = EndpointDocument.from_json(row.document)
    shown = document.shown
    description: dict[str, Any] = {
        "EndpointName": row.name,
        "EndpointArn": document.arn,
        "EndpointConfigName": shown.config,
        "ProductionVariants": [variant_summary(state, row, shown, variant) for variant in shown.variants],
        "EndpointStatus": row.status,
        "FailureReason": document.reason or None,
        "CreationTime": row.created,
        "LastModifiedTime": row.modified,
        "AsyncInferenceConfig": shown.asynchronous or None,
    }
    if capture := shown.capture:
        is_enabled = bool(capture.get("EnableCapture", True))
        is_on = is_enabled and row.status == "InService"
        description["DataCaptureConfig"] = {
            "EnableCapture": is_enabled,
            "CaptureStatus": "Started" if is_on else "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }
    if row.status == "Updating" and document.target != document.serving:
        pending = document.deployment(document.target)
        if pending is not None:
            description["PendingDeploymentSummary"] = {
                "EndpointConfigName": pending.config,
                "StartTime": row.modified,
                "ProductionVariants": [variant_summary(state, row, pending, variant) for variant in pending.variants],
            }
    return description


def list_endpoints(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of summaries."""

    def summary(row: Resource) -> dict[str, Any]:
        return {
            "EndpointName": row.name,
            "EndpointArn": row.document["arn"],
            "CreationTime": row.created,
            "LastModifiedTime": row.modified,
            "EndpointStatus": row.status,
        }

    return listed(state, ENDPOINT, request, "Endpoints", summary)


def update_endpoint(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let an endpoint serve another configuration: its model servers start beside those that serve until then."""
    row = find_endpoint(state, request["EndpointName"])
    config = find_endpoint_config(state, request["EndpointConfigName"])
    excluded = {item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])}

    def updated(document: EndpointDocument) -> EndpointDocument:
        serving = document.deployment(document.serving)
        if serving is None:
            raise validation_error(f'Endpoint "{document.arn}" does not serve. Delete it and create it again.')
        number = max(deployment.number for deployment in document.deployments) + 1
        target = deployment_of(state, config, number)
        if request.get("RetainAllVariantProperties"):
            target = _retained(target, serving, excluded)
        return replace(document, deployments=(serving, target), target=number, reason="")

    return _change(state, row.name, updated)


def update_weights_and_capacities(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change the weights of variants and their numbers of instances."""
    row = find_endpoint(state, request["EndpointName"])

    def updated(document: EndpointDocument) -> EndpointDocument:
        serving = document.deployment(document.serving)
        if serving is None:
            raise validation_error(f'Endpoint "{document.arn}" does not serve.')
        for desired in request["DesiredWeightsAndCapacities"]:
            variant = serving.variant(desired["VariantName"])
            if variant is None:
                raise validation_error(f"The endpoint has no variant {desired['VariantName']!r}.")
            serving = serving.with_variant(
                variant.name,
                weight=float(desired.get("DesiredWeight", variant.weight)),
                count=max(1, int(desired.get("DesiredInstanceCount", variant.count))),
                serverless={**variant.serverless, **desired.get("ServerlessUpdateConfig", {})},
            )
        if not any(variant.weight for variant in serving.variants):
            raise validation_error("One of the variants must have a DesiredWeight above 0.")
        return replace(document.replaced(serving), target=serving.number, reason="")

    return _change(state, row.name, updated)


def delete_endpoint(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Delete an endpoint; requests in progress have their answers before its model servers end."""
    row = find_endpoint(state, request["EndpointName"])

    def deleted(current: Resource) -> Resource:
        if current.status in ("Creating", "Updating"):
            raise _in_progress(current)
        return replace(current, status="Deleting", modified=time.time())

    state.table.change(ENDPOINT, row.name, deleted)
    state.endpoints.routes.remove(row.name)
    state.endpoints.wake()


def list_monitoring_schedules(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return no schedule: there is no operation here that creates one. Predictor.list_monitors asks for them."""
    return {"MonitoringScheduleSummaries": []}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "ListMonitoringSchedules"): list_monitoring_schedules,
    ("sagemaker", "CreateEndpoint"): create_endpoint,
    ("sagemaker", "DescribeEndpoint"): describe_endpoint,
    ("sagemaker", "ListEndpoints"): list_endpoints,
    ("sagemaker", "UpdateEndpoint"): update_endpoint,
    ("sagemaker", "UpdateEndpointWeightsAndCapacities"): update_weights_and_capacities,
    ("sagemaker", "DeleteEndpoint"): delete_endpoint,
}


def find_endpoint(state: ServiceState, name: str) -> Resource:
    """Return the row of an endpoint; raises ServiceError."""
    row = state.table.get(ENDPOINT, name)
    if row is None:
        raise validation_error(f'Could not find endpoint "{state.account.arn(ENDPOINT, name)}".')
    return row


def variant_summary(
    state: ServiceState, row: Resource, deployment: Deployment, variant: VariantDeployment
) -> dict[str, Any]:
    """Return what descriptions say of a variant."""
    names = [name for name in instances(row.name, row.created, deployment) if name.variant == variant.name]
    ready = sum(ServerStatus.read(name.folder(state.home.endpoints)).status == "ready" for name in names)
    image = variant.container.get("Image", "")
    summary: dict[str, Any] = {
        "VariantName": variant.name,
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": row.created}],
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.weight,
        "CurrentInstanceCount": ready,
        "DesiredInstanceCount": variant.count,
    }
    if variant.serverless:
        summary |= {"CurrentServerlessConfig": variant.serverless, "DesiredServerlessConfig": variant.serverless}
    return summary


def _retained(target: Deployment, serving: Deployment, excluded: set[str]) -> Deployment:
    """Return a deployment with the weights, numbers of instances and data capture of the one that serves."""
    for variant in serving.variants:
        if target.variant(variant.name) is not None:
            values = {field: getattr(variant, field) for name, field in _RETAINED.items() if name not in excluded}
            target = target.with_variant(variant.name, **values)
    return target if "DataCaptureConfig" in excluded else replace(target, capture=serving.capture)


def _change(state: ServiceState, name: str, updated: Callable[[EndpointDocument], EndpointDocument]) -> dict[str, Any]:
    """Let an endpoint become something else; raises ServiceError while it does so already."""

    def changed(current: Resource) -> Resource:
        if current.status in CHANGING:
            raise _in_progress(current)
        document = updated(EndpointDocument.from_json(current.document)).to_json()
        return replace(current, status="Updating", document=document, modified=time.time())

    after = state.table.change(ENDPOINT, name, changed)
    if after is None:
        raise validation_error(f'Could not find endpoint "{state.account.arn(ENDPOINT, name)}".')
    state.endpoints.wake()
    return {"EndpointArn": after.document["arn"]}


def _in_progress(row: Resource) -> ServiceError:
    return validation_error(f'Cannot update in-progress endpoint "{row.document["arn"]}".')
