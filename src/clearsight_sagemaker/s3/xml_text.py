"""XML of S3's answers, and of the few requests that have XML bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeAlias
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from clearsight_sagemaker.s3.errors import S3Error

Node: TypeAlias = "str | int | bool | Iterable[tuple[str, Node]]"

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_MOST_BYTES = 2 << 20


def document(name: str, children: Node) -> bytes:
    """Return a document with the namespace of S3. children: text, or (name, children) pairs in order."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{_NAMESPACE}">{_text(children)}</{name}>'.encode()


def error_document(code: str, message: str, resource: str, request: str) -> bytes:
    """Return the body of an error."""
    fields = [("Code", code), ("Message", message), ("Resource", resource), ("RequestId", request)]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{_text(fields)}</Error>'.encode()


def timestamp(seconds: float) -> str:
    """Return a time as S3 writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def parse(body: bytes) -> ElementTree.Element:
    """Return the root of a request body, without namespaces; raises S3Error."""
    # Entities can make megabytes of a line; no client of S3 sends a document type.
    if len(body) > _MOST_BYTES or b"<!" in body:
        raise S3Error("MalformedXML", "The XML you provided was not well-formed or is too large")
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise S3Error("MalformedXML", "The XML you provided was not well-formed") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _text(node: Node) -> str:
    if isinstance(node, bool):
        return "true" if node else "false"
    if isinstance(node, int):
        return str(node)
    if isinstance(node, str):
        return _ILLEGAL.sub("\ufffd", escape(node))
    return "".join(f"<{name}>{_text(child)}</{name}>" for name, child in node)
