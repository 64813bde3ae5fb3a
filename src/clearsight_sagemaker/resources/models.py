"""Models: create, describe, list, delete. A model is a name for a container; nothing runs before an endpoint does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.algorithms.built_in_algorithms import built_in_algorithm
from clearsight_sagemaker.protocols.errors import validation_error
from clearsight_sagemaker.resources.listing import listed
from clearsight_sagemaker.resources.tags import tag_map
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import Operation, ServiceState
from clearsight_sagemaker.training.objects import split_uri

MODEL = "model"
_REPOSITORY = re.compile(r"(?:[^/]+/)*([^/:@]+)(?::[^/@]+)?(?:@.+)?")
_IMAGES = ("pytorch", "clearsight")  # words in the names of images that run here
# Members of a container that need what is not here; without an error the model would silently be another one.
_REFUSED = ("ModelPackageName", "MultiModelConfig", "InferenceSpecificationName", "AdditionalModelDataSources")


def create_model(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store a model. Its data must be there, as in AWS."""
    container = _container(request)
    _check_data(state, container)
    arn = state.account.arn(MODEL, request["ModelName"])
    resource = Resource(
        kind=MODEL,
        name=request["ModelName"],
        status="",
        document={"request": {**request, "Tags": []}, "container": container, "arn": arn},
        tags=tag_map(request.get("Tags", [])),
    )
    try:
        state.table.add(resource)
    except ResourceExists:
        raise validation_error(f'Cannot create already existing model "{arn}".') from None
    return {"ModelArn": arn}


def describe_model(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about a model."""
    model = find_model(state, request["ModelName"])
    stored = {name: value for name, value in model.document["request"].items() if name != "Tags"}
    return {
        "EnableNetworkIsolation": False,
        **stored,
        "ModelArn": model.document["arn"],
        "CreationTime": model.created,
    }


def list_models(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of summaries."""

    def summary(model: Resource) -> dict[str, Any]:
        return {"ModelName": model.name, "ModelArn": model.document["arn"], "CreationTime": model.created}

    return listed(state, MODEL, request, "Models", summary)


def delete_model(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Delete a model. Endpoints that serve it go on."""
    model = find_model(state, request["ModelName"])
    state.table.remove(MODEL, model.name)


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "CreateModel"): create_model,
    ("sagemaker", "DescribeModel"): describe_model,
    ("sagemaker", "ListModels"): list_models,
    ("sagemaker", "DeleteModel"): delete_model,
}


def find_model(state: ServiceState, name: str) -> Resource:
    """Return a model; raises ServiceError."""
    model = state.table.get(MODEL, name)
    if model is None:
        raise validation_error(f'Could not find model "{state.account.arn(MODEL, name)}".')
    return model


def _container(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the container of a request; raises ServiceError for one that cannot run here."""
    primary = [request["PrimaryContainer"]] if "PrimaryContainer" in request else []
    containers = [*request.get("Containers", []), *primary]
    if not containers:
        raise validation_error("The request must have PrimaryContainer or Containers.")
    if len(containers) > 1:
        text = f"The request has {len(containers)} containers. The local service runs no pipelines (PipelineModel);"
        text += " a model must have one container."
        raise validation_error(text)
    [container] = containers
    for name in _REFUSED:
        if name in container:
            raise validation_error(f"The local service runs no containers with {name}. Leave it out.")
    if container.get("Mode", "SingleModel") != "SingleModel":
        text = "The local service runs no multi-model containers (MultiDataModel); Mode must be SingleModel."
        raise validation_error(text)
    if "Image" not in container:
        raise validation_error("The container has no Image. The local service needs one of PyTorch.")
    _check_image(container["Image"])
    address = _data_address(container)
    if address and not address.startswith("s3://"):
        raise validation_error(f"The model data {address} must be an address s3://BUCKET/KEY.")
    return dict(container)


def _data_address(container: Mapping[str, Any]) -> str:
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    return str(container.get("ModelDataUrl") or source.get("S3Uri", ""))


def _check_data(state: ServiceState, container: Mapping[str, Any]) -> None:
    """Raise ServiceError for a container whose model data are not there."""
    address = _data_address(container)
    if not address:
        return
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    try:
        first = next(iter(state.endpoints.objects.keys(address)), None)
    except S3Error:
        first = None
    is_folder = source.get("S3DataType") == "S3Prefix"
    # Keys are in order, so an object is before those whose keys go on after its own.
    if first is None or (not is_folder and first.key != split_uri(address)[1]):
        raise validation_error(f"Could not find model data at {address}.")


def _check_image(uri: str) -> None:
    found = _REPOSITORY.fullmatch(uri)
    name = found.group(1) if found else uri
    if not {*_IMAGES} & {*name.split("-")} and not built_in_algorithm(uri):
        text = (
            f"The local service runs models of PyTorch images, of image-classification and of clearsight, and {name} is"
            f" neither of them ({uri})."
            " Containers are not started on this machine; use a model of sagemaker.pytorch."
        )
        raise validation_error(text)
