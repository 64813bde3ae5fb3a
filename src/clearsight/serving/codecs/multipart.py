"""Uploads of HTML forms (multipart/form-data, RFC 7578): the images are the files of the form.

The boundary is read from the body's first line, so that the reader needs no header. Nothing is decoded but the heads
of the parts, and their number is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from clearsight.core.errors import BadValue, EmptyInput
from clearsight.serving.codecs.base64_text import decode
from clearsight.serving.payload import Payload

_MOST_PARTS = 256
_LONGEST_HEAD = 8192  # bytes of a part's headers
_BOUNDARY = re.compile(rb"--([^\r\n]{1,200}?)[ \t]*\r?\n")
_FILE_NAME = re.compile(rb';[ \t]*filename\*?=("([^"]*)"|[^;\s]*)', re.IGNORECASE)
_FORM = "Send a form with one or several files: curl -F file=@cat.jpg."


class _Part(NamedTuple):
    head: bytes
    content: bytes

    @property
    def file_name(self) -> bytes | None:
        """Return the name of the file, b"" for a file field that was left empty, None for a field without a file."""
        match = _FILE_NAME.search(self.head)
        return None if match is None else match[1].strip(b'"')

    @property
    def is_base64(self) -> bool:
        return re.search(rb"content-transfer-encoding:\s*base64", self.head, re.IGNORECASE) is not None


def read(body: bytes) -> Payload:
    """Return the files of the form; without a file, its fields as base64 texts. Several images are a list.

    Raises BadValue for a form that is cut short or has too many parts, EmptyInput for one without an image.
    """
    parts = list(_parts(body))
    files = [part for part in parts if part.file_name is not None and (part.file_name or part.content)]
    images = [decode(part.content, "a file of the form") if part.is_base64 else part.content for part in files]
    if not files:  # fields with a text in them
        texts = [part.content for part in parts if part.file_name is None and part.content.strip()]
        images = [decode(text, "a field of the form") for text in texts]
    if not images:
        raise EmptyInput("form", "it holds no file", fix=_FORM)
    return Payload(images, batch=len(images) > 1)


def _parts(body: bytes) -> Iterator[_Part]:
    first = _BOUNDARY.search(body, 0, 4096)  # a preamble may come before it
    if first is None:
        raise BadValue("form", "it does not begin with a boundary", fix=_FORM)
    delimiter, at = b"\n--" + first[1], first.end()
    for _ in range(_MOST_PARTS):
        end = body.find(delimiter, at - 1)
        if end < 0:
            raise BadValue("form", "it is cut short: its last boundary is missing", fix=_FORM)
        yield _part(body[at : max(at, end)].removesuffix(b"\r"))
        after = end + len(delimiter)
        if body.startswith(b"--", after):
            return
        at = body.find(b"\n", after) + 1
        if not at:
            raise BadValue("form", "it is cut short: its last boundary is missing", fix=_FORM)
    raise BadValue("form", f"it has more than {_MOST_PARTS} parts", fix=_FORM)


def _part(text: bytes) -> _Part:
    if text.startswith((b"\r\n", b"\n")):  # no headers
        return _Part(b"", text.split(b"\n", 1)[1])
    match = re.compile(rb"\r?\n\r?\n").search(text, 0, _LONGEST_HEAD)
    if match is None:
        raise BadValue("form", f"a part has no headers, or more than {_LONGEST_HEAD} bytes of them", fix=_FORM)
    return _Part(text[: match.start()], text[match.end() :])
