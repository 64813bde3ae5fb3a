"""Signatures of requests: version 4 in a header or a presigned address, version 2 in a presigned address of S3.

There is one key. The hash of a body that S3 stores is declared in a header; the store compares it while it writes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, quote, unquote

from starlette.requests import Request

from clearsight_sagemaker.protocols.errors import ServiceError

UNSIGNED = "UNSIGNED-PAYLOAD"
_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED_CHUNKS = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
_HEADER = re.compile(
    rf"{_ALGORITHM}\s+Credential=([^/,\s]+)/([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{{64}})"
)
_NOTHING = hashlib.sha256(b"").hexdigest()
_SKEW_SECONDS = 900.0
_LONGEST_SECONDS = 604_800  # of a presigned address
# Of S3, these parts of a query belong to what version 2 signs.
_SIGNED_PARTS = frozenset(
    {
        *("acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy"),
        *("requestPayment", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions"),
        *("website", "response-cache-control", "response-content-disposition", "response-content-encoding"),
        *("response-content-language", "response-content-type", "response-expires"),
    }
)


@dataclass(frozen=True, kw_only=True)
class SignatureKey:
    """The key that clients sign with."""

    access_key: str
    secret_key: str


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """A signature of version 4 as a request states it. scope: date/region/service/aws4_request."""

    access_key: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str
    moment: str
    payload: str


class ChunkSignatures:
    """Signatures of one body, checked in the order of its chunks.

    key: derived for the scope.  moment, scope: of the request.  signature: of its header, where the chain begins.
    has_trailer: the headers after the last chunk are signed too.
    """

    def __init__(self, *, key: bytes, moment: str, scope: str, signature: str, has_trailer: bool) -> None:
        self._key, self._moment, self._scope, self._previous = key, moment, scope, signature
        self.has_trailer = has_trailer

    def accepts(self, signature: str, digest: str) -> bool:
        """Return True for the signature of the next chunk. digest: SHA-256 of its data, hexadecimal."""
        return self._accepts(signature, "AWS4-HMAC-SHA256-PAYLOAD", _NOTHING, digest)

    def accepts_trailer(self, trailers: Mapping[str, str]) -> bool:
        """Return True where the headers after the last chunk are signed, as the last of them says."""
        name = "x-amz-trailer-signature"
        text = "".join(f"{key}:{value}\n" for key, value in trailers.items() if key not in ("", name))
        digest = hashlib.sha256(text.encode("latin-1")).hexdigest()
        return self._accepts(trailers.get(name, ""), "AWS4-HMAC-SHA256-TRAILER", digest)

    def _accepts(self, signature: str, algorithm: str, *digests: str) -> bool:
        text = "\n".join([algorithm, self._moment, self._scope, self._previous, *digests])
        self._previous = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(self._previous.encode(), signature.encode())


def check_signature(request: Request, key: SignatureKey, body: bytes | None) -> ChunkSignatures | None:
    """Raise ServiceError unless a request is signed with the key.

    body: None for one that S3 streams, whose hash the request declares; where it declares signed chunks, the
    signatures of these are returned, to be checked while the body is read.
    """
    query = dict(parse_qsl(request.url.query, keep_blank_values=True))
    if "AWSAccessKeyId" in query and "Signature" in query:
        _check_version_2(request, key, query)
        return None
    claim = _claim_of_query(query) if "X-Amz-Signature" in query else _claim_of_header(request, body)
    if not hmac.compare_digest(claim.access_key.encode(), key.access_key.encode()):
        raise _unknown_key()
    _check_declared_hash(request, claim, body)
    signature = _signature(request, claim, key.secret_key)
    if not hmac.compare_digest(signature, claim.signature):
        raise _wrong_signature()
    if claim.payload not in _SIGNED_CHUNKS:
        return None
    return ChunkSignatures(
        key=_signing_key(claim.scope, key.secret_key),
        moment=claim.moment,
        scope=claim.scope,
        signature=signature,
        has_trailer=claim.payload == _SIGNED_CHUNKS[1],
    )


def _claim_of_header(request: Request, body: bytes | None) -> _Claim:
    found = _HEADER.fullmatch(request.headers.get("authorization", "").strip())
    if found is None:
        raise ServiceError("MissingAuthenticationToken", "The request is not signed with the key of this service.", 403)
    access_key, scope, headers, signature = found.groups()
    if (declared := request.headers.get("x-amz-content-sha256")) is not None:
        payload = declared
    elif body is None:
        raise ServiceError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    else:
        payload = hashlib.sha256(body).hexdigest()
    moment = request.headers.get("x-amz-date") or _from_date(request.headers.get("date", ""))
    _check_time(moment, _SKEW_SECONDS)
    return _Claim(
        access_key=access_key,
        scope=scope,
        signed_headers=tuple(headers.split(";")),
        signature=signature,
        moment=moment,
        payload=payload,
    )


def _claim_of_query(query: Mapping[str, str]) -> _Claim:
    access_key, _, scope = query.get("X-Amz-Credential", "").partition("/")
    moment, seconds = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
    if query.get("X-Amz-Algorithm") != _ALGORITHM or not seconds.isdecimal() or int(seconds) > _LONGEST_SECONDS:
        raise ServiceError("AuthorizationQueryParametersError", "The parameters of the presigned address are wrong.")
    _check_time(moment, _SKEW_SECONDS, float(seconds))
    return _Claim(
        access_key=access_key,
        scope=scope,
        signed_headers=tuple(query.get("X-Amz-SignedHeaders", "").split(";")),
        signature=query["X-Amz-Signature"],
        moment=moment,
        payload=UNSIGNED,
    )


def _check_declared_hash(request: Request, claim: _Claim, body: bytes | None) -> None:
    """Raise ServiceError for a body that is not the signed one, or that nobody can check."""
    if claim.payload.startswith("STREAMING-AWS4") and (claim.payload not in _SIGNED_CHUNKS or body is not None):
        text = f"The payload {claim.payload} is not checked. Send the hash of the body, or UNSIGNED-PAYLOAD."
        raise ServiceError("NotImplemented", text, 501)
    if body is not None and len(claim.payload) == 64 and claim.payload != hashlib.sha256(body).hexdigest():
        text = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise ServiceError("XAmzContentSHA256Mismatch", text)
    if "host" not in claim.signed_headers:
        raise ServiceError("AccessDenied", "The header host must be signed.", 403)


def _signature(request: Request, claim: _Claim, secret: str) -> str:
    date, _, service, _ = [*claim.scope.split("/"), "", "", "", ""][:4]
    if not claim.moment.startswith(date) or not date:
        raise _wrong_signature()
    canonical = "\n".join(
        [
            request.method,
            _canonical_path(request, service),
            _canonical_query(request),
            *(f"{name}:{_header_value(request, name)}" for name in claim.signed_headers),
            "",
            ";".join(claim.signed_headers),
            claim.payload,
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join([_ALGORITHM, claim.moment, claim.scope, digest])
    return hmac.new(_signing_key(claim.scope, secret), text.encode(), hashlib.sha256).hexdigest()


def _signing_key(scope: str, secret: str) -> bytes:
    """Return the key of a scope date/region/service/aws4_request."""
    date, region, service = [*scope.split("/"), "", "", ""][:3]
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _canonical_path(request: Request, service: str) -> str:
    path = request.scope["raw_path"].split(b"?")[0].decode("ascii", "replace") or "/"
    # S3 signs the path as it is sent, other services encode it once more.
    return path if service == "s3" else quote(path, safe="/~")


def _canonical_query(request: Request) -> str:
    pairs = []
    for part in filter(None, request.scope["query_string"].decode("ascii", "replace").split("&")):
        name, _, value = part.partition("=")
        if name != "X-Amz-Signature":
            pairs.append((_encoded(name), _encoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def _header_value(request: Request, name: str) -> str:
    return ",".join(" ".join(value.split()) for value in request.headers.getlist(name))


# Version 2


def _check_version_2(request: Request, key: SignatureKey, query: Mapping[str, str]) -> None:
    expires = query.get("Expires", "")
    if not hmac.compare_digest(query["AWSAccessKeyId"].encode(), key.access_key.encode()):
        raise _unknown_key()
    if not expires.isdecimal() or int(expires) < time.time():
        raise ServiceError("AccessDenied", "Request has expired", 403)
    amazon = sorted({name for name in request.headers if name.startswith("x-amz-")})
    parts = [f"{name}={query[name]}" if query[name] else name for name in sorted(query.keys() & _SIGNED_PARTS)]
    path = request.scope["raw_path"].split(b"?")[0].decode("ascii", "replace")
    text = "\n".join(
        [
            request.method,
            request.headers.get("content-md5", ""),
            request.headers.get("content-type", ""),
            expires,
            *(f"{name}:{_header_value(request, name)}" for name in amazon),
            path + (f"?{'&'.join(parts)}" if parts else ""),
        ]
    )
    digest = hmac.new(key.secret_key.encode(), text.encode(), hashlib.sha1).digest()
    if not hmac.compare_digest(base64.b64encode(digest).decode(), query["Signature"]):
        raise _wrong_signature()


# Times and errors


def _check_time(moment: str, before: float, after: float | None = None) -> None:
    """Raise ServiceError for a time that is too far ahead of now, or too long ago."""
    try:
        seconds = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ServiceError("AccessDenied", "The request has no valid date.", 403) from None
    passed = time.time() - seconds
    if after is not None and passed > after:
        raise ServiceError("AccessDenied", "Request has expired", 403)
    if passed < -before or (after is None and passed > before):
        text = "The difference between the request time and the current time is too large."
        raise ServiceError("RequestTimeTooSkewed", text, 403)


def _from_date(text: str) -> str:
    try:
        return parsedate_to_datetime(text).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except ValueError:
        return ""


def _unknown_key() -> ServiceError:
    return ServiceError("InvalidAccessKeyId", "The AWS Access Key Id you provided is not the one of this service.", 403)


def _wrong_signature() -> ServiceError:
    text = "The request signature we calculated does not match the signature you provided. Check your key."
    return ServiceError("SignatureDoesNotMatch", text, 403)
