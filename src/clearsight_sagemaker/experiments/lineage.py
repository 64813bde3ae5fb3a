"""Lineage of experiments: artifacts at addresses, and associations between them and other resources."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.experiments.entities import list_entities
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.resources.tags import tag_map
from clearsight_sagemaker.state.resource_table import Resource, ResourceExists
from clearsight_sagemaker.state.service_state import Operation, ServiceState

ARTIFACT, ASSOCIATION = "artifact", "association"
_ARN = re.compile(r"arn:[^:]+:sagemaker:[^:]*:[^:]*:([a-z-]+)/(.+)")


def create_artifact(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store an artifact. One with the same source is there once."""
    name = _digest(json.dumps(request["Source"], sort_keys=True))
    members = {key: value for key, value in request.items() if key != "Tags"}
    row = Resource(
        kind=ARTIFACT,
        name=name,
        status="Created",
        document={"request": members, "arn": state.account.arn(ARTIFACT, name)},
        tags=tag_map(request.get("Tags", [])),
    )
    with contextlib.suppress(ResourceExists):
        state.table.add(row)
    return {"ArtifactArn": row.document["arn"]}


def describe_artifact(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything about an artifact."""
    return _artifact_members(_found(state, request["ArtifactArn"]))


def list_artifacts(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of artifacts, of all or of a source or a type."""

    def accepts(row: Resource) -> bool:
        members = row.document["request"]
        is_at_source = request.get("SourceUri") in (None, members["Source"]["SourceUri"])
        return is_at_source and request.get("ArtifactType") in (None, members["ArtifactType"])

    rows, token = list_entities(state, ARTIFACT, request, accepts)
    left_out = {"Properties": None, "MetadataProperties": None}
    return {"ArtifactSummaries": [{**_artifact_members(row), **left_out} for row in rows], "NextToken": token}


def delete_artifact(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete an artifact, named by its ARN or its source."""
    if "ArtifactArn" in request:
        row = _found(state, request["ArtifactArn"])
    else:
        source = json.dumps(request.get("Source", {}), sort_keys=True)
        row = _found(state, state.account.arn(ARTIFACT, _digest(source)))
    state.table.remove(ARTIFACT, row.name)
    return {"ArtifactArn": row.document["arn"]}


def add_association(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Store that one resource has to do with another."""
    source, destination = request["SourceArn"], request["DestinationArn"]
    for arn in (source, destination):
        _found(state, arn)
    name = _digest(f"{source} {destination}")
    row = Resource(kind=ASSOCIATION, name=name, status="Created", document={"request": dict(request)})
    try:
        state.table.add(row)
    except ResourceExists:
        text = f"Association between {source} and {destination} already exists."
        raise ServiceError("ValidationException", text) from None
    return {"SourceArn": source, "DestinationArn": destination}


def list_associations(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of associations, of all or of a source, a destination or a type."""

    def accepts(row: Resource) -> bool:
        members = _association_members(state, row)
        names = ("SourceArn", "DestinationArn", "SourceType", "DestinationType", "AssociationType")
        return all(request.get(name) in (None, members.get(name)) for name in names)

    rows, token = list_entities(state, ASSOCIATION, request, accepts)
    return {"AssociationSummaries": [_association_members(state, row) for row in rows], "NextToken": token}


def delete_association(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete an association."""
    source, destination = request["SourceArn"], request["DestinationArn"]
    if not state.table.remove(ASSOCIATION, _digest(f"{source} {destination}")):
        raise ServiceError("ResourceNotFound", f"{source} and {destination} are not associated.")
    return {"SourceArn": source, "DestinationArn": destination}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "CreateArtifact"): create_artifact,
    ("sagemaker", "DescribeArtifact"): describe_artifact,
    ("sagemaker", "ListArtifacts"): list_artifacts,
    ("sagemaker", "DeleteArtifact"): delete_artifact,
    ("sagemaker", "AddAssociation"): add_association,
    ("sagemaker", "ListAssociations"): list_associations,
    ("sagemaker", "DeleteAssociation"): delete_association,
}


def _artifact_members(row: Resource) -> dict[str, Any]:
    names = ("ArtifactName", "Source", "ArtifactType", "Properties", "MetadataProperties")
    members = {name: row.document["request"].get(name) for name in names}
    times = {"CreationTime": row.created, "LastModifiedTime": row.modified}
    return {"ArtifactArn": row.document["arn"], **members, **times}


def _association_members(state: ServiceState, row: Resource) -> dict[str, Any]:
    members = dict(row.document["request"])
    for end in ("Source", "Destination"):
        kind, name = _parts(members[f"{end}Arn"])
        other = state.table.get(kind, name)
        request = other.document["request"] if other is not None and kind == ARTIFACT else {}
        members |= {f"{end}Type": request.get("ArtifactType", kind), f"{end}Name": request.get("ArtifactName", name)}
    return {**members, "CreationTime": row.created}


def _found(state: ServiceState, arn: str) -> Resource:
    row = state.table.get(*_parts(arn))
    if row is None:
        raise ServiceError("ResourceNotFound", f"{arn} does not exist.")
    return row


def _parts(arn: str) -> tuple[str, str]:
    """Return kind and name of an ARN, which are empty for a text that is none."""
    found = _ARN.fullmatch(arn)
    return (found.group(1), found.group(2)) if found else ("", "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
