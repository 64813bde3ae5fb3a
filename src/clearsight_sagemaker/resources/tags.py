"""Tags of resources, by the ARN of the resource."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import Operation, ServiceState

_ARN = re.compile(r"arn:[^:]+:sagemaker:[^:]*:[^:]*:([a-z-]+)/(.+)")
_MOST_TAGS = 50
_DEFAULT_PAGE = 50


def tag_map(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return tags by key; raises ServiceError for a key twice or of AWS itself."""
    found: dict[str, str] = {}
    for tag in tags:
        if tag["Key"].lower().startswith("aws:"):
            raise validation_error(f"The tag key {tag['Key']!r} begins with aws:, which is reserved.")
        if tag["Key"] in found:
            raise validation_error(f"The tag key {tag['Key']!r} is there twice.")
        found[tag["Key"]] = tag["Value"]
    return found


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as responses have them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def list_tags(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of the tags of a resource."""
    tags = tag_list(_tagged(state, request["ResourceArn"]).tags)
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise validation_error("The NextToken is not one that this service returned.")
    start, limit = int(token), request.get("MaxResults", _DEFAULT_PAGE)
    end = start + limit
    return {"Tags": tags[start:end], "NextToken": str(end) if end < len(tags) else None}


def add_tags(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add tags to a resource, or give its tags other values; return all of them."""
    added = tag_map(request["Tags"])
    tagged = _tagged(state, request["ResourceArn"])

    def changed(row: Resource) -> Resource:
        tags = {**row.tags, **added}
        if len(tags) > _MOST_TAGS:
            raise ServiceError("ResourceLimitExceeded", f"A resource may have {_MOST_TAGS} tags, not {len(tags)}.")
        return replace(row, tags=tags)

    return {"Tags": tag_list((state.table.change(tagged.kind, tagged.name, changed) or tagged).tags)}


def delete_tags(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags from a resource; keys that are not there are no error."""
    removed = {*request["TagKeys"]}
    tagged = _tagged(state, request["ResourceArn"])

    def changed(row: Resource) -> Resource:
        return replace(row, tags={key: value for key, value in row.tags.items() if key not in removed})

    state.table.change(tagged.kind, tagged.name, changed)
    return {}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("sagemaker", "ListTags"): list_tags,
    ("sagemaker", "AddTags"): add_tags,
    ("sagemaker", "DeleteTags"): delete_tags,
}


def _tagged(state: ServiceState, arn: str) -> Resource:
    found = _ARN.fullmatch(arn)
    if found is None:
        raise validation_error(f"{arn!r} is not the ARN of a resource of SageMaker.")
    kind, name = found.groups()
    resource = state.table.get(kind, name)
    if resource is None:
        raise validation_error(f"Could not find resource {arn!r}.")
    return resource
