"""Listing of named resources: filters, order and pages, which all List operations have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from clearsight_sagemaker.protocols.json_protocol import seconds_of
from clearsight_sagemaker.state.resource_table import Resource, ResourceQuery
from clearsight_sagemaker.state.service_state import ServiceState

_COLUMNS: dict[str, Literal["name", "created", "modified", "status"]] = {
    "Name": "name",
    "CreationTime": "created",
    "LastModifiedTime": "modified",
    "Status": "status",
}
_DEFAULT_PAGE = 10


def listing_query(
    kind: str, request: Mapping[str, Any], accepts: Callable[[Resource], bool] | None = None
) -> ResourceQuery:
    """Return the query of a List request, the newest first unless it asks for another order.

    accepts: a filter that this kind has beside the common ones.
    """
    return ResourceQuery(
        kind=kind,
        name_contains=request.get("NameContains", ""),
        status=request.get("StatusEquals", ""),
        created_after=seconds_of(request, "CreationTimeAfter"),
        created_before=seconds_of(request, "CreationTimeBefore"),
        modified_after=seconds_of(request, "LastModifiedTimeAfter"),
        modified_before=seconds_of(request, "LastModifiedTimeBefore"),
        sort_by=_COLUMNS[request.get("SortBy", "CreationTime")],
        descending=request.get("SortOrder", "Descending") == "Descending",
        limit=request.get("MaxResults", _DEFAULT_PAGE),
        token=request.get("NextToken", ""),
        accepts=accepts,
    )


def listed(
    state: ServiceState,
    kind: str,
    request: Mapping[str, Any],
    member: str,
    summary: Callable[[Resource], Mapping[str, Any]],
) -> dict[str, Any]:
    """Return a page of summaries in the member of a List operation, the newest first unless the request has an order.

    Raises ServiceError for a wrong token.
    """
    resources, token = state.page(listing_query(kind, request))
    return {member: [summary(resource) for resource in resources], "NextToken": token or None}
