"""Endpoint configurations: create, describe, list, delete."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from clearsight_sagemaker.endpoints.deployment import Deployment, VariantDeployment
from clearsight_sagemaker.protocols.errors import validation_error
from clearsight_sagemaker.resources.listing import listed
from clearsight_sagemaker.resources.models import find_model
from clearsight_sagemaker.resources.tags import tag_map
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import Operation, ServiceState

ENDPOINT_CONFIG = "endpoint-config"
# What needs other software than is here; without an error the endpoint would silently be another one.
_REFUSED = ("ExplainerConfig", "ShadowProductionVariants", "CrossRegionTrafficConfig")
_REFUSED_OF_VARIANT = ("InstancePools", "CapacityReservationConfig", "AcceleratorPartitionLayouts")
_ADDRESS = re.compile("s3://[^/]+")
_MOST_INSTANCES = 64  # of a variant: each is a process on this machine


def create_endpoint_config(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a configuration."""
    _check(state, request)
    name, arn = request["EndpointConfigName"], state.account.arn(ENDPOINT_CONFIG, request["EndpointConfigName"])
    resource = Resource(
        kind=ENDPOINT_CONFIG,
        name=name,
        status="",
        document={"request": {**request, "Tags": []}, "arn": arn},
        tags=tag_map(request.get("Tags", [])),
    )
    try:
        state.table.add(resource)
    except ResourceExists:
        raise validation_error(f'Cannot create already existing endpoint configuration "{arn}".') from None
    return {"EndpointConfigArn": arn}


def describe_endpoint_config(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about a configuration."""
    config = find_endpoint_config(state, request["EndpointConfigName"])
    stored = {name: value for name, value in config.document["request"].items() if name != "Tags"}
    return {
        "EnableNetworkIsolation": False,
        **stored,
        "ProductionVariants": [{"InitialVariantWeight": 1.0, **variant} for variant in stored["ProductionVariants"]],
        "EndpointConfigArn": config.document["arn"],
        "CreationTime": config.created,
    }


def list_endpoint_configs(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of summaries."""

    def summary(config: Resource) -> dict[str, Any]:
        arn = config.document["arn"]
        return {"EndpointConfigName": config.name, "EndpointConfigArn": arn, "CreationTime": config.created}

    return listed(state, ENDPOINT_CONFIG, request, "EndpointConfigs", summary)


def delete_endpoint_config(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Delete a configuration. Endpoints that were created with it go on."""
    config = find_endpoint_config(state, request["EndpointConfigName"])
    state.table.remove(ENDPOINT_CONFIG, config.name)


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "CreateEndpointConfig"): create_endpoint_config,
    ("sagemaker", "DescribeEndpointConfig"): describe_endpoint_config,
    ("sagemaker", "ListEndpointConfigs"): list_endpoint_configs,
    ("sagemaker", "DeleteEndpointConfig"): delete_endpoint_config,
}


def find_endpoint_config(state: ServiceState, name: str) -> Resource:
    """Return a configuration; raises ServiceError."""
    config = state.table.get(ENDPOINT_CONFIG, name)
    if config is None:
        arn = state.account.arn(ENDPOINT_CONFIG, name)
        raise validation_error(f'Could not find endpoint configuration "{arn}".')
    return config


def deployment_of(state: ServiceState, config: Resource, number: int) -> Deployment:
    """Return the deployment of a configuration with its models as they are now; raises ServiceError."""
    request = config.document["request"]
    return Deployment(
        number=number,
        config=config.name,
        variants=tuple(_variants(state, request)),
        capture=request.get("DataCaptureConfig") or {},
        asynchronous=request.get("AsyncInferenceConfig") or {},
    )


def _variants(state: ServiceState, request: Mapping[str, Any]) -> Iterator[VariantDeployment]:
    for variant in request["ProductionVariants"]:
        model = find_model(state, variant["ModelName"]).document
        serverless = variant.get("ServerlessConfig") or {}
        yield VariantDeployment(
            name=variant["VariantName"],
            model=variant["ModelName"],
            container=model["container"],
            weight=float(variant.get("InitialVariantWeight", 1.0)),
            count=max(1, int(variant.get("InitialInstanceCount", 1))),
            instance_type=variant.get("InstanceType", ""),
            serverless=serverless,
            start_seconds=int(variant.get("ContainerStartupHealthCheckTimeoutInSeconds", 0)),
            no_network=bool(request.get("EnableNetworkIsolation") or model["request"].get("EnableNetworkIsolation")),
        )


def _check(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Raise ServiceError for a configuration that cannot become an endpoint here."""
    for name in _REFUSED:
        if request.get(name):
            raise validation_error(f"The local service has no endpoints with {name}. Leave it out.")
    _check_addresses(request)
    variants = request["ProductionVariants"]
    name, count = Counter(variant["VariantName"] for variant in variants).most_common(1)[0]
    if count > 1:
        raise validation_error(f"Two or more production variants have the name {name!r}. It must be unique.")
    for variant in variants:
        _check_variant(state, variant)
    if not any(variant.get("InitialVariantWeight", 1.0) for variant in variants):
        raise validation_error("One of the variants must have an InitialVariantWeight above 0.")
    serverless = [variant["VariantName"] for variant in variants if "ServerlessConfig" in variant]
    for member in ("DataCaptureConfig", "AsyncInferenceConfig"):
        if serverless and member in request:
            raise validation_error(f"{member} is not supported for serverless endpoints (variant {serverless[0]}).")


def _check_addresses(request: Mapping[str, Any]) -> None:
    output = request.get("AsyncInferenceConfig", {}).get("OutputConfig", {})
    addresses = {
        "DestinationS3Uri": request.get("DataCaptureConfig", {}).get("DestinationS3Uri"),
        **{name: output.get(name) for name in ("S3OutputPath", "S3FailurePath")},
    }
    for name, address in addresses.items():
        if address and not _ADDRESS.match(address):
            raise validation_error(f"{name} {address!r} must be an address s3://BUCKET/PREFIX.")


def _check_variant(state: ServiceState, variant: Mapping[str, Any]) -> None:
    name = variant["VariantName"]
    for member in _REFUSED_OF_VARIANT:
        if member in variant:
            raise validation_error(f"The local service has no variants with {member} ({name}). Leave it out.")
    if "ModelName" not in variant:
        raise validation_error(f"Variant {name} has no ModelName. The local service has no inference components.")
    find_model(state, variant["ModelName"])
    if "ServerlessConfig" in variant:
        if "InstanceType" in variant or "InitialInstanceCount" in variant:
            raise validation_error(f"Variant {name} has ServerlessConfig, and so no instances. Leave InstanceType out.")
        return
    if "InstanceType" not in variant:
        raise validation_error(f"Variant {name} must have InstanceType and InitialInstanceCount, or ServerlessConfig.")
    if variant.get("InitialInstanceCount", 1) > _MOST_INSTANCES:
        text = f"InitialInstanceCount {variant['InitialInstanceCount']} of variant {name} is too many for this machine"
        raise validation_error(f"{text}; at most {_MOST_INSTANCES} are allowed.")
