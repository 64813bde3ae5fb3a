"""Content negotiation: the codecs that read the body and write the response (RFC 9110, sections 8.3 and 12.5.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from clearsight.core.errors import UnsupportedType
from clearsight.serving.codecs.npy import MAGIC
from clearsight.serving.error_responses import NotAcceptable

_SHOWN = 100  # characters of a header that an error repeats


def request_type(content_type: str | None, body: bytes, offered: Collection[str]) -> str:
    """Return the media type to read `body` as: the declared one without parameters, else by its first bytes.

    Raises UnsupportedType, which lists `offered`, for a declared type that is not among them.
    """
    if content_type is None or not content_type.strip():
        return sniff(body)
    declared = media_type(content_type)
    if declared not in offered:
        header = f"Content-Type {content_type[:_SHOWN]!r}"
        raise UnsupportedType(header, "the endpoint does not read it", got=declared, allowed=offered)
    return declared


def sniff(body: bytes) -> str:
    """Return the media type of a body without a declared one; anything but JSON, NPY and zip is left to the decoder."""
    if body.startswith(MAGIC):
        return "application/x-npy"
    if body.startswith(b"PK\x03\x04"):
        return "application/zip"
    # A text may begin with blank lines.
    return "application/json" if body[:64].lstrip()[:1] in (b"{", b'"', b"[") else "application/octet-stream"


def response_type(accept: str | None, offered: Collection[str]) -> str:
    """Return the media type of the response: the one of `offered` with the highest q-value, ties in the client's order.

    Without a header, or a media range in it, it is the first of `offered`. Raises NotAcceptable, which lists them.
    """
    ranges = list(_ranges(accept or ""))
    if not ranges:
        return next(iter(offered))
    ranked = {name: _preference(name, ranges) for name in offered}
    best = max(ranked, key=lambda name: ranked[name])
    if ranked[best][0] <= 0:
        header = f"Accept {str(accept)[:_SHOWN]!r}"
        raise NotAcceptable(header, "the endpoint does not write it", got=ranges[0][0], allowed=offered)
    return best


def media_type(header: str) -> str:
    """Return type/subtype of a header value, in lower case, without parameters."""
    return header.partition(";")[0].strip().lower()


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Yield (media range, q) of each member; a q that is not a number counts as 1, as if it were missing."""
    for member in accept.split(","):
        if name := media_type(member):
            parameters = (parameter.partition("=") for parameter in member.split(";")[1:])
            yield name, next((_number(value) for key, _, value in parameters if key.strip().lower() == "q"), 1.0)


def _number(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 1.0
    return min(max(quality, 0.0), 1.0) if quality == quality else 1.0  # float("nan") is no error


def _preference(name: str, ranges: list[tuple[str, float]]) -> tuple[float, int, int]:
    """Return (q, specificity, earliness) of `name` by the most specific range that covers it; larger is better."""
    family = name.partition("/")[0]
    covering = {name: 2, f"{family}/*": 1, "*/*": 0}  # RFC 9110: the most specific range decides, not the highest q
    matches = [
        (covering[media_range], -index, quality)
        for index, (media_range, quality) in enumerate(ranges)
        if media_range in covering
    ]
    specificity, earliness, quality = max(matches, default=(0, 0, 0.0))
    return quality, specificity, earliness


# Former names, which entry points in bundles of earlier versions import.
reading, answering = request_type, response_type
