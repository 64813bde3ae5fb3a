"""Reading logs: GetLogEvents of a stream in both directions, FilterLogEvents of many streams."""

from __future__ import annotations

import base64
import binascii
import heapq
import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from clearsight_sagemaker.cloud.log_lines import LogLine, lines_before, lines_from, offset_at
from clearsight_sagemaker.cloud.log_streams import LogStream, stream, streams
from clearsight_sagemaker.protocols.errors import ServiceError
from clearsight_sagemaker.state.service_state import Operation, ServiceState

_MOST_EVENTS = 10_000
_MOST_BYTES = 1 << 20  # of messages in a response, as in AWS
_OVERHEAD = 26  # bytes that AWS counts for an event beside its message
_MOST_SCANNED = 200_000  # lines that one FilterLogEvents reads; the next page goes on
_TOKEN = re.compile(r"([fb])/(\d{1,18})")
_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|(\S+))')


def get_log_events(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return events of a stream, and tokens for those after and before them.

    A token repeats itself where there is nothing more in its direction; it is a byte of the file.
    """
    source = stream(state, _group(request), request["logStreamName"])
    limit = request.get("limit", _MOST_EVENTS)
    is_forward, offset = _position(request)
    if is_forward:
        start = max(offset or 0, offset_at(source.path, request.get("startTime", 0)))
        lines = [*_bounded(_in_time(lines_from(source.path, start), request), limit)]
    else:
        before = _in_time(iter(lines_before(source.path, offset, _MOST_BYTES)), request)
        lines = [*_bounded(reversed([*before]), limit)][::-1]
    if lines:
        first, last = lines[0].start, lines[-1].end
    else:
        # Nothing there: forward from where the reader is, or from the end where it has not begun.
        first = last = offset if offset is not None else 0 if is_forward else source.path.stat().st_size
    return {
        "events": [{**_event(line), "ingestionTime": line.timestamp} for line in lines],
        "nextForwardToken": f"f/{last}",
        "nextBackwardToken": f"b/{first}",
    }


def filter_log_events(state: ServiceState, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return events of many streams in the order of time, those whose text fits a pattern."""
    group, names = _group(request), request.get("logStreamNames")
    if names and "logStreamNamePrefix" in request:
        raise _bad("logStreamNames and logStreamNamePrefix cannot be used together.")
    if names:
        sources = [stream(state, group, name) for name in names]
    else:
        sources = [*streams(state, group, request.get("logStreamNamePrefix", ""))]
    fits, offsets = _pattern(request.get("filterPattern", "")), _read_offsets(request.get("nextToken"))
    merged = heapq.merge(
        *(_located(source, offsets.get(source.name, 0), request) for source in sources),
        key=lambda item: item[1].timestamp,
    )
    limit, size = request.get("limit", _MOST_EVENTS), 0
    events: list[dict[str, Any]] = []
    is_complete = True
    for count, (source, line) in enumerate(merged):
        if len(events) == limit or size > _MOST_BYTES or count == _MOST_SCANNED:
            is_complete = False
            break
        offsets[source.name] = line.end
        if fits(line.message):
            size += len(line.message) + _OVERHEAD
            facts = {"logStreamName": source.name, "ingestionTime": line.timestamp}
            events.append({**facts, **_event(line), "eventId": f"{line.timestamp}{line.start:018d}"})
    token = None if is_complete else base64.urlsafe_b64encode(json.dumps(offsets).encode()).decode()
    searched = [{"logStreamName": source.name, "searchedCompletely": is_complete} for source in sources]
    return {"events": events, "nextToken": token, "searchedLogStreams": searched}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("logs", "GetLogEvents"): get_log_events,
    ("logs", "FilterLogEvents"): filter_log_events,
}


def _group(request: Mapping[str, Any]) -> str:
    """Return the name of the group, which a request may give as an ARN."""
    if "logGroupName" in request:
        return str(request["logGroupName"])
    found = re.fullmatch(r"arn:[^:]+:logs:[^:]*:[^:]*:log-group:([^:]+)(?::\*)?", request.get("logGroupIdentifier", ""))
    if found is None:
        raise _bad("logGroupName is missing, or logGroupIdentifier is no ARN of a log group.")
    return found.group(1)


def _position(request: Mapping[str, Any]) -> tuple[bool, int | None]:
    """Return the direction, and the byte of the token; None without a token."""
    token = request.get("nextToken")
    if token is None:
        return bool(request.get("startFromHead", False)), None
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise _bad("The specified nextToken is invalid.")
    return found.group(1) == "f", int(found.group(2))


def _in_time(lines: Iterator[LogLine], request: Mapping[str, Any]) -> Iterator[LogLine]:
    start, end = request.get("startTime"), request.get("endTime")
    for line in lines:
        if end is not None and line.timestamp >= end:
            return
        if start is None or line.timestamp >= start:
            yield line


def _bounded(lines: Iterator[LogLine], limit: int) -> Iterator[LogLine]:
    size = 0
    for line in islice(lines, limit):
        size += len(line.message) + _OVERHEAD
        if size > _MOST_BYTES and size > len(line.message) + _OVERHEAD:
            return
        yield line


def _located(source: LogStream, offset: int, request: Mapping[str, Any]) -> Iterator[tuple[LogStream, LogLine]]:
    start = max(offset, offset_at(source.path, request.get("startTime", 0)))
    for line in _in_time(lines_from(source.path, start), request):
        yield source, line


def _event(line: LogLine) -> dict[str, Any]:
    return {"timestamp": line.timestamp, "message": line.message}


def _pattern(text: str) -> Callable[[str], bool]:
    """Return the filter of a pattern of terms: word, "several words", -not, ?either. Raises ServiceError."""
    if text.strip()[:1] in ("{", "[", "%"):
        raise _bad("The local service has filter patterns of terms alone, without fields and regular expressions.")
    terms = [
        (found.group(1), found.group(3) if found.group(2) is None else re.sub(r"\\(.)", r"\1", found.group(2)))
        for found in _TERM.finditer(text)
    ]
    required = [term for sign, term in terms if sign == ""]
    absent = [term for sign, term in terms if sign == "-"]
    either = [term for sign, term in terms if sign == "?"]

    def fits(message: str) -> bool:
        if any(term in message for term in absent) or not all(term in message for term in required):
            return False
        return not either or bool(required) or any(term in message for term in either)

    return fits


def _read_offsets(token: str | None) -> dict[str, int]:
    if token is None:
        return {}
    try:
        offsets = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error):
        offsets = None
    if not isinstance(offsets, dict) or not all(isinstance(offset, int) and offset >= 0 for offset in offsets.values()):
        raise _bad("The specified nextToken is invalid.")
    return offsets


def _bad(text: str) -> ServiceError:
    return ServiceError("InvalidParameterException", text)
