"""Experiments, trials and trial components as rows: what their operations have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.protocols.json_protocol import seconds_of
from clearsight_sagemaker.resources.tags import tag_map
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists, ResourceQuery
from clearsight_sagemaker.state.service_state import ServiceState

EXPERIMENT, TRIAL, TRIAL_COMPONENT = "experiment", "experiment-trial", "experiment-trial-component"
_NOUNS = {EXPERIMENT: "Experiment", TRIAL: "Trial", TRIAL_COMPONENT: "Trial component"}


def add_entity(state: ServiceState, kind: str, name: str, request: Mapping[str, Any]) -> str:
    """Store an entity with the members of its request, and return its ARN; raises ServiceError for a name in use."""
    members = {key: value for key, value in request.items() if key != "Tags"}
    arn = state.account.arn(kind, name)
    row = Resource(
        kind=kind,
        name=name,
        status="Created",
        document={"request": members, "arn": arn},
        tags=tag_map(request.get("Tags", [])),
    )
    try:
        state.table.add(row)
    except ResourceExists:
        noun = _NOUNS[kind]
        text = f"{noun} names must be unique within an AWS account and region. {noun} with name ({name}) already exists"
        raise validation_error(f"{text}.") from None
    return arn


def stored_entity(state: ServiceState, kind: str, name: str) -> Resource:
    """Return an entity; raises ServiceError where there is none of that name."""
    row = state.table.get(kind, name)
    if row is None:
        raise ServiceError("ResourceNotFound", f"{_NOUNS[kind]} '{name}' does not exist.")
    return row


def change_entity(
    state: ServiceState, kind: str, name: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> str:
    """Replace the members of an entity, and return its ARN. change: takes the members before, and returns those after.

    Raises ServiceError where there is none of that name.
    """

    def changed(row: Resource) -> Resource:
        members = change(dict(row.document["request"]))
        return replace(row, document={**row.document, "request": members}, modified=time.time())

    row = state.table.change(kind, name, changed)
    return str((row or stored_entity(state, kind, name)).document["arn"])


def list_entities(
    state: ServiceState, kind: str, request: Mapping[str, Any], accepts: Callable[[Resource], bool] | None = None
) -> tuple[list[Resource], str | None]:
    """Return a page of entities, the newest first unless another order is asked for, and the token of the next one."""
    query = ResourceQuery(
        kind=kind,
        created_after=seconds_of(request, "CreatedAfter"),
        created_before=seconds_of(request, "CreatedBefore"),
        sort_by="name" if request.get("SortBy") == "Name" else "created",
        descending=request.get("SortOrder", "Descending") == "Descending",
        limit=request.get("MaxResults", 10),
        token=request.get("NextToken", ""),
        accepts=accepts,
    )
    rows, token = state.page(query)
    return rows, token or None


def common_members(row: Resource) -> dict[str, Any]:
    """Return the members that descriptions of all kinds have."""
    request = row.document["request"]
    return {
        "DisplayName": request.get("DisplayName", row.name),
        "CreationTime": row.created,
        "LastModifiedTime": row.modified,
    }
