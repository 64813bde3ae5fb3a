"""Groups and streams of CloudWatch Logs: describe and delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.cloud.log_streams import LogStream, delete, group_names, no_such_group, stream, streams
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.state.service_state import Operation, ServiceState

_DEFAULT_PAGE = 50


def describe_log_groups(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups that have streams."""
    prefix, pattern = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
    groups = []
    for name in group_names(state):
        found = [*streams(state, name)] if name.startswith(prefix) and pattern.lower() in name.lower() else []
        if found:
            arn = f"arn:aws:logs:{state.account.region}:{state.account.account}:log-group:{name}"
            facts = {"logGroupName": name, "arn": f"{arn}:*", "logGroupArn": arn, "metricFilterCount": 0}
            created = int(1000 * min(source.created for source in found))
            size = sum(source.path.stat().st_size for source in found)
            groups.append({**facts, "creationTime": created, "storedBytes": size})
    return {"logGroups": groups}


def describe_log_streams(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of the streams of a group.

    The SDK asks for the streams of one job, "JOB/", and while it gets a token it repeats the request without it: there
    is no token for such a prefix.
    """
    group, prefix = request.get("logGroupName", ""), request.get("logStreamNamePrefix", "")
    found = [*streams(state, group, prefix)]
    if not found and not any(True for _ in streams(state, group)):
        raise no_such_group()
    if request.get("orderBy") == "LastEventTime":
        found.sort(key=lambda source: source.path.stat().st_mtime)
    if request.get("descending"):
        found.reverse()
    token, limit = request.get("nextToken", "0"), request.get("limit", _DEFAULT_PAGE)
    if not token.isdecimal():
        raise ServiceError("InvalidParameterException", "The specified nextToken is invalid.")
    start = int(token)
    end = start + limit
    has_more = end < len(found) and "/" not in prefix
    page = [_description(state, source) for source in found[start:end]]
    return {"logStreams": page, "nextToken": str(end) if has_more else None}


def delete_log_stream(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Delete a stream."""
    delete(state, stream(state, request["logGroupName"], request["logStreamName"]))


def delete_log_group(state: ServiceState, request: Mapping[str, Any]) -> None:
    """Delete every stream of a group; later jobs have a group of the same name again."""
    found = [*streams(state, request["logGroupName"])]
    if not found:
        raise no_such_group()
    for source in found:
        delete(state, source)


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("logs", "DescribeLogGroups"): describe_log_groups,
    ("logs", "DescribeLogStreams"): describe_log_streams,
    ("logs", "DeleteLogStream"): delete_log_stream,
    ("logs", "DeleteLogGroup"): delete_log_group,
}


def _description(state: ServiceState, source: LogStream) -> dict[str, Any]:
    first, last = source.first_and_last()
    prefix = f"arn:aws:logs:{state.account.region}:{state.account.account}:log-group"
    return {
        "logStreamName": source.name,
        "creationTime": int(1000 * source.created),
        "firstEventTimestamp": first,
        "lastEventTimestamp": last,
        "lastIngestionTime": last,
        "uploadSequenceToken": "0",
        "arn": f"{prefix}:{source.group}:log-stream:{source.name}",
        "storedBytes": 0,  # as AWS says it since 2019
    }
