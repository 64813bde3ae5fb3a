"""Headers of requests and answers of S3: content, conditions, ranges, the source of a copy."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import parse_qsl, unquote_plus

from starlette.datastructures import Headers
from starlette.requests import Request

from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.s3.store import Content, StoredObject

_HEADERS = ("content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires")


def content_of(headers: Headers, checksums: Mapping[str, str]) -> Content:
    """Return what the headers of an upload say of an object."""
    found = {name: headers[name] for name in _HEADERS if name in headers}
    encodings = [part.strip() for part in found.get("content-encoding", "").split(",")]
    rest = ",".join(part for part in encodings if part and part != "aws-chunked")
    found = {name: value for name, value in found.items() if name != "content-encoding"}
    if rest:
        found["content-encoding"] = rest
    found.setdefault("content-type", "binary/octet-stream")
    metadata = {name.removeprefix("x-amz-meta-"): value for name, value in headers.items() if "x-amz-meta-" in name}
    tags = dict(parse_qsl(headers.get("x-amz-tagging", ""), keep_blank_values=True))
    return Content(headers=found, metadata=metadata, tags=tags, checksums=checksums)


def content_of_copy(headers: Headers, found: Content) -> Content:
    """Return what a copy says of itself: `found` of its source, with what the request replaces."""
    given = content_of(headers, found.checksums)
    replaces_metadata = headers.get("x-amz-metadata-directive", "COPY").upper() == "REPLACE"
    replaces_tags = headers.get("x-amz-tagging-directive", "COPY").upper() == "REPLACE"
    if not (replaces_metadata or replaces_tags):
        return found
    described = given if replaces_metadata else found
    tags = (given if replaces_tags else found).tags
    return Content(headers=described.headers, metadata=described.metadata, tags=tags, checksums=found.checksums)


def object_headers(stored: StoredObject, request: Request) -> dict[str, str]:
    """Return the headers of an object, with what a presigned address asks for in their place."""
    content = stored.content
    headers = {
        "ETag": f'"{stored.etag}"',
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        **content.headers,
        **{f"x-amz-meta-{name}": value for name, value in content.metadata.items()},
    }
    if content.tags:
        headers["x-amz-tagging-count"] = str(len(content.tags))
    if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and "range" not in request.headers:
        headers |= checksum_headers(content.checksums)
    for name in _HEADERS:  # a presigned address may ask for others
        if (value := request.query_params.get(f"response-{name}")) is not None:
            headers[name] = value
    return headers


def checksum_headers(checksums: Mapping[str, str]) -> dict[str, str]:
    """Return checksums by algorithm as headers."""
    return {f"x-amz-checksum-{name}": value for name, value in checksums.items()}


def is_not_modified(stored: StoredObject, headers: Headers) -> bool:
    """Return True where the client has the object already; raises S3Error where it wants another."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is not None and match.strip('"') not in ("*", stored.etag):
        raise S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
    if none_match is not None:
        return none_match.strip('"') in ("*", stored.etag)
    since = headers.get("if-modified-since")
    try:
        return since is not None and int(stored.modified) <= parsedate_to_datetime(since).timestamp()
    except ValueError:
        return False


def check_copy_condition(stored: StoredObject, headers: Headers) -> None:
    """Raise S3Error where a copy wants another object."""
    match, none_match = headers.get("x-amz-copy-source-if-match"), headers.get("x-amz-copy-source-if-none-match")
    wrong = match is not None and match.strip('"') != stored.etag
    if wrong or (none_match is not None and none_match.strip('"') == stored.etag):
        raise S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")


def copy_source(headers: Headers) -> tuple[str, str]:
    """Return bucket and key of the object to copy; raises S3Error."""
    text = headers["x-amz-copy-source"].partition("?versionId=")[0]
    bucket, _, key = unquote_plus(text.replace("+", "%2B")).lstrip("/").partition("/")
    if not key:
        raise S3Error("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    return bucket, key


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """Return the (start, end) of a range of bytes; None for no range. Raises S3Error for one beyond the object."""
    unit, _, span = text.partition("=")
    first, dash, last = span.partition("-")
    if unit.strip() != "bytes" or not dash or not (first.isdecimal() or (not first and last.isdecimal())):
        return None
    if not first and size == 0 and int(last) > 0:  # the last bytes of nothing are nothing, which is no error in HTTP
        return None
    if first:
        start, end = int(first), min(int(last) + 1, size) if last.isdecimal() else size
    else:
        start, end = max(0, size - int(last)), size
    if start >= size or end <= start:
        raise S3Error("InvalidRange", "The requested range is not satisfiable")
    return start, end


def number_of(text: str, name: str) -> int:
    """Return the number in a query or document; raises S3Error."""
    if not text.isdecimal():
        raise S3Error("InvalidArgument", f"Argument {name} must be an integer of 0 or more")
    return int(text)
