"""S3 over HTTP, in path style: the operations that clients of SageMaker use."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import IO
from urllib.parse import parse_qsl, quote, unquote

from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from clearsight_sagemaker.s3.body import write_body
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.s3.headers import (
    byte_range,
    check_copy_condition,
    checksum_headers,
    content_of,
    content_of_copy,
    copy_source,
    is_not_modified,
    number_of,
    object_headers,
)
from clearsight_sagemaker.s3.listing import list_page
from clearsight_sagemaker.s3.multipart import Uploads
from clearsight_sagemaker.s3.store import Content, ObjectStore, StoredObject
from clearsight_sagemaker.s3.xml_text import Node, document, error_document, parse, timestamp

_PIECE = 1 << 20
_OWNER: Node = [("ID", "clearsight"), ("DisplayName", "clearsight")]
_MOST_BYTES = 5 << 30  # of an object or a part, as S3 has it

Handler = Callable[["S3", Request, str, str], Awaitable[Response]]


class S3:
    """Operations on a store."""

    def __init__(self, store: ObjectStore) -> None:
        self.store, self.uploads = store, Uploads(store)

    # Service and buckets

    async def list_buckets(self, request: Request, bucket: str, key: str) -> Response:
        found = [("Bucket", [("Name", name), ("CreationDate", timestamp(at))]) for name, at in self.store.buckets()]
        return _xml("ListAllMyBucketsResult", [("Owner", _OWNER), ("Buckets", found)])

    async def create_bucket(self, request: Request, bucket: str, key: str) -> Response:
        await request.body()  # a location, of which there is one alone
        await run_in_threadpool(self.store.create_bucket, bucket)
        return Response(headers={"Location": f"/{bucket}"})

    async def head_bucket(self, request: Request, bucket: str, key: str) -> Response:
        self.store.check_bucket(bucket)
        return Response(headers={"x-amz-bucket-region": "us-east-1"})

    async def delete_bucket(self, request: Request, bucket: str, key: str) -> Response:
        await run_in_threadpool(self.store.delete_bucket, bucket)
        return Response(status_code=204)

    async def location(self, request: Request, bucket: str, key: str) -> Response:
        self.store.check_bucket(bucket)
        return _xml("LocationConstraint", "")

    async def versioning(self, request: Request, bucket: str, key: str) -> Response:
        self.store.check_bucket(bucket)
        return _xml("VersioningConfiguration", "")

    async def get_website(self, request: Request, bucket: str, key: str) -> Response:
        return Response(self.store.website(bucket), media_type="application/xml")

    async def put_website(self, request: Request, bucket: str, key: str) -> Response:
        body = await request.body()
        parse(body)
        await run_in_threadpool(self.store.set_website, bucket, body)
        return Response()

    async def delete_website(self, request: Request, bucket: str, key: str) -> Response:
        await run_in_threadpool(self.store.set_website, bucket, b"")
        return Response(status_code=204)

    async def acl(self, request: Request, bucket: str, key: str) -> Response:
        if key:
            self.store.head(bucket, key)
        self.store.check_bucket(bucket)
        return _xml("AccessControlPolicy", [("Owner", _OWNER), ("AccessControlList", "")])

    async def list_objects(self, request: Request, bucket: str, key: str) -> Response:
        query = request.query_params
        is_v2 = query.get("list-type") == "2"
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "") if is_v2 else query.get("marker", "")
        limit = number_of(query.get("max-keys", "1000"), "max-keys")
        page = await run_in_threadpool(
            list_page, self.store, bucket, prefix=prefix, delimiter=delimiter, after=after, limit=limit
        )
        encode = (lambda text: quote(text, safe="/")) if query.get("encoding-type") == "url" else str
        fields: list[tuple[str, Node]] = [("Name", bucket), ("Prefix", encode(prefix))]
        if is_v2:
            fields += [("KeyCount", page.count)]
            fields += [(name, value) for name, value in _v2_places(query).items()]
            fields += [("NextContinuationToken", page.last)] if page.last else []
        else:
            fields += [("Marker", encode(after))]
            fields += [("NextMarker", encode(page.last))] if page.last and delimiter else []
        fields += [("Delimiter", encode(delimiter))] if delimiter else []
        fields += [("EncodingType", "url")] if query.get("encoding-type") == "url" else []
        fields += [("MaxKeys", limit), ("IsTruncated", bool(page.last))]
        fields += [("Contents", _listed(stored, encode)) for stored in page.objects]
        fields += [("CommonPrefixes", [("Prefix", encode(name))]) for name in page.prefixes]
        return _xml("ListBucketResult", fields)

    async def delete_objects(self, request: Request, bucket: str, key: str) -> Response:
        self.store.check_bucket(bucket)
        root = parse(await request.body())
        quiet = root.findtext("Quiet") == "true"
        fields: list[tuple[str, Node]] = []
        for element in root.findall("Object"):
            name = element.findtext("Key") or ""
            await run_in_threadpool(self.store.delete, bucket, name)
            fields += [] if quiet else [("Deleted", [("Key", name)])]
        return _xml("DeleteResult", fields)

    # Objects

    async def put_object(self, request: Request, bucket: str, key: str) -> Response:
        with self.store.new_file(bucket) as file:
            etag, checksums = await _receive(request, file)
            content = content_of(request.headers, checksums)
            stored = await run_in_threadpool(self.store.put, bucket, key, file, content, etag, request.headers)
        return Response(headers={"ETag": f'"{stored.etag}"', **checksum_headers(checksums)})

    async def get_object(self, request: Request, bucket: str, key: str) -> Response:
        with self.store.opened(bucket, key) as (stored, file):
            if is_not_modified(stored, request.headers):
                return Response(status_code=304, headers={"ETag": f'"{stored.etag}"'})
            headers = object_headers(stored, request)
            if request.method == "HEAD":
                return Response(headers={**headers, "content-length": str(stored.size)})
            start, end, status = 0, stored.size, 200
            if span := byte_range(request.headers.get("range", ""), stored.size):
                start, end, status = *span, 206
                headers["content-range"] = f"bytes {start}-{end - 1}/{stored.size}"
            headers["content-length"] = str(end - start)
            source = open_again(file)
        return StreamingResponse(iterate_in_threadpool(_pieces(source, start, end)), status, headers)

    async def delete_object(self, request: Request, bucket: str, key: str) -> Response:
        await run_in_threadpool(self.store.delete, bucket, key)
        return Response(status_code=204)

    async def copy_object(self, request: Request, bucket: str, key: str) -> Response:
        source_bucket, source_key = copy_source(request.headers)
        with self.store.opened(source_bucket, source_key) as (found, source), self.store.new_file(bucket) as file:
            check_copy_condition(found, request.headers)
            content = content_of_copy(request.headers, found.content)
            if content is found.content and (bucket, key) == (source_bucket, source_key):
                text = "This copy request is illegal because it is trying to copy an object to itself without a change"
                raise S3Error("InvalidRequest", text, key)
            etag = await run_in_threadpool(_copy, source, file, 0, found.size)
            stored = await run_in_threadpool(self.store.put, bucket, key, file, content, etag, {})
        fields: list[tuple[str, Node]] = [("ETag", f'"{stored.etag}"'), ("LastModified", timestamp(stored.modified))]
        return _xml("CopyObjectResult", fields)

    async def get_tags(self, request: Request, bucket: str, key: str) -> Response:
        stored = self.store.head(bucket, key)
        tags = [("Tag", [("Key", name), ("Value", value)]) for name, value in stored.content.tags.items()]
        return _xml("Tagging", [("TagSet", tags)])

    async def put_tags(self, request: Request, bucket: str, key: str) -> Response:
        root = parse(await request.body())
        tags = {tag.findtext("Key") or "": tag.findtext("Value") or "" for tag in root.iter("Tag")}
        self._retag(bucket, key, tags)
        return Response()

    async def delete_tags(self, request: Request, bucket: str, key: str) -> Response:
        self._retag(bucket, key, {})
        return Response(status_code=204)

    def _retag(self, bucket: str, key: str, tags: Mapping[str, str]) -> None:
        stored = self.store.head(bucket, key)
        was = stored.content
        content = Content(headers=was.headers, metadata=was.metadata, tags=tags, checksums=was.checksums)
        self.store.change(bucket, stored, content)

    # Uploads in parts

    async def create_upload(self, request: Request, bucket: str, key: str) -> Response:
        upload = await run_in_threadpool(self.uploads.create, bucket, key, content_of(request.headers, {}))
        return _xml("InitiateMultipartUploadResult", [("Bucket", bucket), ("Key", key), ("UploadId", upload)])

    async def put_part(self, request: Request, bucket: str, key: str) -> Response:
        upload_place = (bucket, key, request.query_params["uploadId"])
        self.uploads.content(*upload_place)
        number = number_of(request.query_params.get("partNumber", ""), "partNumber")
        if "x-amz-copy-source" in request.headers:
            return await self._copy_part(request, upload_place, number)
        with self.store.new_file(bucket) as file:
            etag, checksums = await _receive(request, file)
            await run_in_threadpool(self.uploads.put_part, upload_place, number, file, etag, checksums)
        return Response(headers={"ETag": f'"{etag}"', **checksum_headers(checksums)})

    async def _copy_part(self, request: Request, upload_place: tuple[str, str, str], number: int) -> Response:
        source_bucket, source_key = copy_source(request.headers)
        with (
            self.store.opened(source_bucket, source_key) as (found, source),
            self.store.new_file(upload_place[0]) as file,
        ):
            check_copy_condition(found, request.headers)
            part = byte_range(request.headers.get("x-amz-copy-source-range", ""), found.size) or (0, found.size)
            etag = await run_in_threadpool(_copy, source, file, *part)
            await run_in_threadpool(self.uploads.put_part, upload_place, number, file, etag, {})
        fields: list[tuple[str, Node]] = [("ETag", f'"{etag}"'), ("LastModified", timestamp(found.modified))]
        return _xml("CopyPartResult", fields)

    async def list_parts(self, request: Request, bucket: str, key: str) -> Response:
        upload = request.query_params["uploadId"]
        after = number_of(request.query_params.get("part-number-marker", "0"), "part-number-marker")
        limit = min(number_of(request.query_params.get("max-parts", "1000"), "max-parts"), 1000)
        parts = [part for part in self.uploads.parts(bucket, key, upload) if part.number > after]
        fields: list[tuple[str, Node]] = [("Bucket", bucket), ("Key", key), ("UploadId", upload), ("MaxParts", limit)]
        fields += [("PartNumberMarker", after), ("IsTruncated", len(parts) > limit)]
        fields += [("NextPartNumberMarker", parts[limit - 1].number)] if len(parts) > limit > 0 else []
        for part in parts[:limit]:
            values: list[tuple[str, Node]] = [("PartNumber", part.number), ("LastModified", timestamp(part.modified))]
            fields.append(("Part", [*values, ("ETag", f'"{part.etag}"'), ("Size", part.size)]))
        return _xml("ListPartsResult", fields)

    async def list_uploads(self, request: Request, bucket: str, key: str) -> Response:
        prefix = request.query_params.get("prefix", "")
        fields: list[tuple[str, Node]] = [("Bucket", bucket), ("IsTruncated", False)]
        for name, upload, started in self.uploads.listed(bucket):
            if name.startswith(prefix):
                fields.append(("Upload", [("Key", name), ("UploadId", upload), ("Initiated", timestamp(started))]))
        return _xml("ListMultipartUploadsResult", fields)

    async def complete_upload(self, request: Request, bucket: str, key: str) -> Response:
        upload_place = (bucket, key, request.query_params["uploadId"])
        self.uploads.content(*upload_place)
        root = parse(await request.body())
        chosen = [
            (number_of(part.findtext("PartNumber") or "", "PartNumber"), part.findtext("ETag") or "")
            for part in root.findall("Part")
        ]
        stored = await run_in_threadpool(self.uploads.complete, upload_place, chosen, request.headers)
        location = f"{str(request.base_url).rstrip('/')}/{bucket}/{quote(key)}"
        fields: list[tuple[str, Node]] = [("Location", location), ("Bucket", bucket), ("Key", key)]
        return _xml("CompleteMultipartUploadResult", [*fields, ("ETag", f'"{stored.etag}"')])

    async def abort_upload(self, request: Request, bucket: str, key: str) -> Response:
        await run_in_threadpool(self.uploads.abort, bucket, key, request.query_params["uploadId"])
        return Response(status_code=204)


# (method, what the query has, kind of target) -> operation; the first that fits is taken.
_OPERATIONS: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "", "service", S3.list_buckets),
    ("GET", "location", "bucket", S3.location),
    ("GET", "versioning", "bucket", S3.versioning),
    ("GET", "acl", "bucket", S3.acl),
    ("GET", "website", "bucket", S3.get_website),
    ("PUT", "website", "bucket", S3.put_website),
    ("DELETE", "website", "bucket", S3.delete_website),
    ("GET", "uploads", "bucket", S3.list_uploads),
    ("GET", "", "bucket", S3.list_objects),
    ("PUT", "", "bucket", S3.create_bucket),
    ("HEAD", "", "bucket", S3.head_bucket),
    ("DELETE", "", "bucket", S3.delete_bucket),
    ("POST", "delete", "bucket", S3.delete_objects),
    ("GET", "uploadId", "object", S3.list_parts),
    ("GET", "tagging", "object", S3.get_tags),
    ("GET", "acl", "object", S3.acl),
    ("GET", "", "object", S3.get_object),
    ("HEAD", "", "object", S3.get_object),
    ("PUT", "uploadId", "object", S3.put_part),
    ("PUT", "tagging", "object", S3.put_tags),
    ("PUT", "", "object", S3.put_object),
    ("POST", "uploads", "object", S3.create_upload),
    ("POST", "uploadId", "object", S3.complete_upload),
    ("DELETE", "uploadId", "object", S3.abort_upload),
    ("DELETE", "tagging", "object", S3.delete_tags),
    ("DELETE", "", "object", S3.delete_object),
)
# Parts of a bucket or object that are not there: without this they would be taken for the object itself.
_SUBRESOURCES = frozenset(
    {
        *("accelerate", "acl", "analytics", "cors", "encryption", "inventory", "legal-hold", "lifecycle", "location"),
        *("logging", "metrics", "notification", "object-lock", "ownershipControls", "policy", "publicAccessBlock"),
        *("replication", "requestPayment", "restore", "retention", "select", "tagging", "torrent", "uploads"),
        *("versioning", "versions", "website"),
    }
)


def build_s3_app(store: ObjectStore) -> Starlette:
    """Return the application over a store."""
    service = S3(store)

    async def respond(request: Request) -> Response:
        identity = secrets.token_hex(8)
        bucket, _, key = unquote(request.scope["raw_path"].split(b"?")[0].decode("ascii")).lstrip("/").partition("/")
        try:
            handler = _operation(request, bucket, key)
            response = await handler(service, request, bucket, key)
        except ClientDisconnect:
            response = Response(status_code=499)
        except S3Error as error:
            body = error_document(error.code, error.message, error.resource or f"/{bucket}/{key}", identity)
            response = Response(b"" if request.method == "HEAD" else body, error.status, media_type="application/xml")
        response.headers["x-amz-request-id"] = identity
        return response

    methods = ["GET", "HEAD", "PUT", "POST", "DELETE"]
    return Starlette(routes=[Route("/{path:path}", respond, methods=methods)])


def _operation(request: Request, bucket: str, key: str) -> Handler:
    kind = "object" if key else "bucket" if bucket else "service"
    names = {name for name, _ in parse_qsl(request.url.query, keep_blank_values=True)}
    if request.method == "PUT" and kind == "object" and "x-amz-copy-source" in request.headers:
        return S3.put_part if "uploadId" in names else S3.copy_object
    for method, part, target, handler in _OPERATIONS:
        if method == request.method and target == kind and (part in names or not (part or names & _SUBRESOURCES)):
            return handler
    operation = next(iter(names & _SUBRESOURCES), "") or f"{request.method} on a {kind}"
    raise S3Error("NotImplemented", f"This service has no operation for {operation}.")


async def _receive(request: Request, file: IO[bytes]) -> tuple[str, dict[str, str]]:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > _MOST_BYTES:
        raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    signatures = request.scope.get("chunk_signatures")  # of whoever has checked that of the request
    return await write_body(_in_large_pieces(request.stream()), request.headers, file, signatures)


async def _in_large_pieces(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what comes in pieces of about a megabyte: fewer writes, and fewer turns of the loop."""
    waiting = bytearray()
    async for piece in stream:
        waiting += piece
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _listed(stored: StoredObject, encode: Callable[[str], str]) -> Node:
    fields: list[tuple[str, Node]] = [("Key", encode(stored.key)), ("LastModified", timestamp(stored.modified))]
    return [*fields, ("ETag", f'"{stored.etag}"'), ("Size", stored.size), ("StorageClass", "STANDARD")]


def _v2_places(query: Mapping[str, str]) -> dict[str, str]:
    names = {"continuation-token": "ContinuationToken", "start-after": "StartAfter"}
    return {name: query[key] for key, name in names.items() if key in query}


def open_again(file: IO[bytes]) -> IO[bytes]:
    """Return the same open file under a descriptor of its own."""
    return os.fdopen(os.dup(file.fileno()), "rb")


def _pieces(source: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    with source:
        source.seek(start)
        left = end - start
        while left and (piece := source.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


def _copy(source: IO[bytes], target: IO[bytes], start: int, end: int) -> str:
    """Copy a range of bytes; return its MD5 as hexadecimal."""
    digest = hashlib.md5(usedforsecurity=False)
    source.seek(start)
    left = end - start
    while left and (piece := source.read(min(left, _PIECE))):
        target.write(piece)
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _xml(name: str, children: Node) -> Response:
    return Response(document(name, children), media_type="application/xml")
